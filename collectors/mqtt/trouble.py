"""Why there is no connection, or nothing comes over it, in words that say what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping

from paho.mqtt.reasoncodes import ReasonCode

_TAKEN_OVER = 0x8E
NO_ENTRY = (0x86, 0x87)  # bad user name or password, not authorized
_CERTIFICATE = {
    9: "it is not valid yet; is our own clock behind?",
    10: "it must be renewed at the broker",
    62: "write the host as the certificate names it",
    64: "write the host as the certificate names it",
}
"""What to do by OpenSSL's X509_V_ERR code; for any other the CA is missing."""
_TLS_S = 2.0
_SHORT_S = 10.0
_SHORT_ENOUGH = 3


def speaks_tls(host: str, port: int) -> bool:
    """Return whether a TLS handshake gets an answer at this port; whose certificate it is does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), _TLS_S) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # such as: a client certificate is wanted
    except OSError:
        return False


def connecting(error: Exception, host: str, port: int, tls: bool) -> str:
    """Return why a connection could not be made."""
    where = f"{host}:{port}"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}: is the broker running, and is this its port?"
    if isinstance(error, socket.gaierror):
        return f"no address is known for {host!r} ({error.strerror}): is the name right?"
    if isinstance(error, TimeoutError):
        return f"no answer from {where}: is the address right, and does a firewall let it through?"
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = _CERTIFICATE.get(error.verify_code, "name its CA in ca_file")
        return f"the broker's certificate is not trusted ({error.verify_message}): {remedy}"
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionResetError)):
        return (
            f"no TLS at this port, write mqtt:// in place of mqtts:// if so ({type(error).__name__}: {error})"
        )
    return f"{type(error).__name__}: {error}"


def refused(reason: ReasonCode, named: bool) -> str:
    """Return what a broker means that refuses the connection; `named` says whether it was told a user."""
    if reason.value not in NO_ENTRY:
        return f"refused: {reason}"
    remedy = (
        "are username and password right?"
        if named
        else "it wants username, and password_file or password_env"
    )
    return f"the broker refuses the login ({reason}): {remedy}"


def unanswered(tls_there: bool) -> str:
    """Return why CONNECT was not answered."""
    if tls_there:
        return "the broker speaks TLS at this port: write mqtts:// in place of mqtt://"
    return "no answer to CONNECT (wrong protocol version, or a client certificate is wanted)"


def unsubscribed(refused: Mapping[str, str]) -> str:
    """Return what a broker means that refuses subscriptions; each with the broker's word."""
    told = ", ".join(f"{topic} ({why})" for topic, why in refused.items())
    return (
        f"the broker refuses the subscription to {told}: give this user the right to read it"
        if refused
        else ""
    )


class Losses:
    """Tells why connections are lost.

    Parameters
    ----------
    client_id
        Ours; two clients with one id end each other's connections for ever.
    """

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._short = 0

    def lost(self, lasted_s: float, reason: ReasonCode | None) -> str:
        """Return why a connection that stood was lost; `reason` is the broker's, where it gave one (MQTT 5)."""
        self._short = self._short + 1 if lasted_s < _SHORT_S else 0
        if reason is not None and reason.value == _TAKEN_OVER:
            return f"session taken over: another client uses the client id {self._client_id!r}; each needs its own"
        if reason is not None and reason.is_failure:
            return f"the broker ended the connection: {reason}"
        if self._client_id and self._short >= _SHORT_ENOUGH:
            return (
                f"connection lost again and again, within {_SHORT_S:.0f} s: another client may use the client id "
                f"{self._client_id!r}"
            )
        return "connection lost"
