"""One connection to a broker, kept up by a thread of its own: MQTT 5, or 3.1.1 where the broker knows no more."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from collectors.mqtt import trouble
from collectors.mqtt.receive import NO_LIMIT, BulkClient, Take
from collectors.mqtt.settings import BrokerSettings
from collectors.mqtt.trouble import Losses
from domain.errors import ConfigurationError, Problem, SourceError, SourceRefused

log = structlog.get_logger(__name__)

_UNSUPPORTED_VERSION = 0x84
_NO_SUBSCRIBERS = 0x10
_ANSWER_S = 2.0  # a broker that has not answered CONNECT by then does not understand it
_NUMBER = 0xFFFFFF << 16  # of the connection, in a message's number
_PAUSE_S = 0.004
# Between reads: small messages gather in the socket, which is then read in one go. Costs this much delay.


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when this client vanishes."""

    topic: str
    payload: bytes


@dataclass(slots=True)
class ConnectionState:
    """How the connection is, for the health page."""

    connected: bool = False
    protocol: str = ""
    since: float = 0.0
    connects: int = 0
    error: str = ""
    outage_s: float = 0.0
    denied: bool = False
    """Whether the broker refused the login the last time."""
    refused: dict[str, str] = field(default_factory=dict)
    """Subscriptions that the broker does not grant, each with its word for why."""


class Connection:
    """A client that connects for ever, subscribes at each connect, and hands over what arrives.

    Parameters
    ----------
    settings
        The broker.
    take
        Called in the network thread for each message: topic, payload, message id. The id carries the number of the
        connection above its 16 bits, so that `acknowledge` never answers for an earlier connection, and `RETAINED`.
    subscriptions
        Topic filters, all at QoS 1.
    will
        Left with the broker.
    on_connect
        Called in the network thread at each connect, before anything can be published.
    on_answered
        Called in the network thread when the broker has answered a QoS 1 message: its id, and whether the broker took
        it. A broker of MQTT 5 also tells when nobody has subscribed, and then keeps nothing (MQTT 5.0, 3.4.2.1).
    largest
        Of a payload longer than this only the beginning is taken.
    as_published
        Whether `RETAINED` tells what publishers asked for rather than what the broker had kept (MQTT 5 only).
    """

    def __init__(
        self,
        settings: BrokerSettings,
        take: Take | None = None,
        subscriptions: Sequence[str] = (),
        will: Will | None = None,
        on_connect: Callable[[], None] | None = None,
        on_answered: Callable[[int, bool], None] | None = None,
        largest: int = NO_LIMIT,
        as_published: bool = False,
    ) -> None:
        self._as_published = as_published
        self._largest = largest
        self._settings = settings
        self._take = take or (lambda topic, payload, mid: None)
        self._subscriptions = subscriptions
        self._will = will
        self._on_connect = on_connect
        self._on_answered = on_answered
        self._client: BulkClient | None = None
        self._number = 0
        self._mqtt5 = settings.protocol != "3.1.1"
        self._stop = threading.Event()
        self._lost = time.monotonic()
        self._thread: threading.Thread | None = None
        self.state = ConnectionState()
        self.subscribed = threading.Event()
        """Set once the broker has answered the subscription, granted or not."""
        self._losses = Losses(settings.client_id)
        self._credentials = settings.credentials()
        self._tls = _tls_context(settings) if settings.tls else None

    @property
    def unheard(self) -> bool:
        """Whether the broker grants none of the subscriptions."""
        return bool(self._subscriptions) and len(self.state.refused) == len(self._subscriptions)

    def start(self) -> None:
        """Begin connecting; returns at once."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=f"mqtt {self._settings.host}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect in good order and end the thread."""
        self._stop.set()
        client = self._client
        if client is not None:
            client.disconnect()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> int | None:
        """Send a message; return its id, or None where there is no connection and nothing was sent."""
        client = self._client
        if client is None or not self.state.connected:
            return None
        info = client.publish(topic, payload, qos, retain)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Ask the broker for no more of these, also after a reconnect."""
        self._subscriptions = [topic for topic in self._subscriptions if topic not in topics]
        client = self._client
        if client is not None and self.state.connected:
            client.unsubscribe(list(topics))

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Tell the broker that these messages are safe; those of an earlier connection it sends again."""
        client, number = self._client, self._number
        if client is not None and self.state.connected:
            here = number << 16
            client.acknowledge([mid & 0xFFFF for mid in mids if mid & _NUMBER == here and mid & 0xFFFF])

    def _run(self) -> None:
        wait = 0.2
        while not self._stop.is_set():
            started = time.monotonic()
            refused = self._connect_and_serve()
            if self._stop.is_set():
                break
            if refused and self._settings.protocol == "auto":
                # 3.1.1 unanswered as well: an overloaded broker, which gets MQTT 5 again.
                self._mqtt5 = not self._mqtt5
                log.info(
                    "broker does not answer, changing protocol",
                    broker=self._settings.shown,
                    mqtt5=self._mqtt5,
                )
                if not self._mqtt5:
                    continue
            # A connection that held is tried again at once; one that fails, ever more rarely.
            held = self.state.connects and time.monotonic() - started > 2 * self._settings.retry_max
            wait = 0.2 if held else min(wait * 2, self._settings.retry_max)
            self._stop.wait(wait * random.uniform(0.7, 1.3))

    def _connect_and_serve(self) -> bool:
        """Serve one connection until it ends; return whether the broker refused the protocol version."""
        self._number = (self._number + 1) & (_NUMBER >> 16)
        client = self._new_client(self._number)
        answered: list[ReasonCode] = []
        client.on_connect = lambda c, _u, _f, reason, _p: self._connected(c, reason, answered)
        ended: list[ReasonCode] = []
        client.on_disconnect = lambda _c, _u, flags, reason, _p: (
            ended.append(reason) if flags.is_disconnect_packet_from_server else None
        )
        client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._subscribed(reasons)
        if self._on_answered is not None:
            answer = self._on_answered
            client.on_publish = lambda _c, _u, mid, reason, _p: answer(
                mid, not (reason.is_failure or reason.value == _NO_SUBSCRIBERS)
            )
        try:
            client.connect(self._settings.host, self._settings.port, **self._connect_options())
        except (OSError, ValueError) as error:
            self._note(
                trouble.connecting(error, self._settings.host, self._settings.port, self._settings.tls)
            )
            return False
        self._client = client
        try:
            self._serve(client, answered)
        except Exception as error:  # whatever paho or a callback raises: this thread must go on
            log.exception("connection failed", broker=self._settings.shown)
            self._note(f"{type(error).__name__}: {error}")
        self._client = None
        if self.state.connected:
            self.state.connected = False
            self._lost = time.monotonic()
            lost = self._losses.lost(time.time() - self.state.since, ended[0] if ended else None)
            self._note("" if self._stop.is_set() else lost)
        self.subscribed.clear()
        if answered and answered[0].is_failure:
            self._note(trouble.refused(answered[0], named=self._credentials is not None))
            return bool(answered[0].value == _UNSUPPORTED_VERSION)
        if not answered and not self._stop.is_set():
            # Some brokers that know no MQTT 5 hang up, others wait for ever; so does one that wants a certificate.
            tls = not self._settings.tls and trouble.speaks_tls(self._settings.host, self._settings.port)
            self._note(trouble.unanswered(tls))
            return not tls
        return not answered

    def _serve(self, client: BulkClient, answered: list[ReasonCode]) -> None:
        rc = MQTTErrorCode.MQTT_ERR_SUCCESS
        begun = time.monotonic()
        while rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            rc = client.loop(timeout=0.5)
            time.sleep(_PAUSE_S)
            if self._stop.is_set() and not client.is_connected():
                break
            if not answered and time.monotonic() - begun > _ANSWER_S:
                client.disconnect()
                client.loop(timeout=0.0)
                break

    def _new_client(self, number: int) -> BulkClient:
        take, upper = self._take, number << 16

        def take_numbered(topic: bytes, payload: bytes, mid: int) -> None:
            take(topic, payload, mid and mid | upper)

        client = BulkClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            clean_session=None if self._mqtt5 else not self._settings.client_id,
            protocol=paho.MQTTv5 if self._mqtt5 else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
            take=take_numbered,
            largest=self._largest,
        )
        client.max_inflight_messages_set(1000)
        # With this set, paho leaves all writing to the network thread and only wakes it.
        client.on_socket_register_write = lambda *_: None
        if self._credentials:
            client.username_pw_set(*self._credentials)
        if self._tls:
            client.tls_set_context(self._tls)
        if self._will:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        return client

    def _connect_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"keepalive": self._settings.keepalive}
        if self._mqtt5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.ReceiveMaximum = self._settings.receive_maximum
            if self._settings.client_id:
                properties.SessionExpiryInterval = self._settings.session_expiry
            options |= {"properties": properties, "clean_start": not self._settings.client_id}
        return options

    def _connected(self, client: paho.Client, reason: ReasonCode, answered: list[ReasonCode]) -> None:
        answered.append(reason)
        self.state.denied = reason.value in trouble.NO_ENTRY
        if reason.is_failure:
            return
        now = time.monotonic()
        if self.state.connects:
            self.state.outage_s += now - self._lost
        if self._on_connect is not None:
            self._on_connect()
        self.state.connects += 1  # before `connected`, for those who read both
        self.state.connected, self.state.since, self.state.error = True, time.time(), ""
        self.state.protocol = "5" if self._mqtt5 else "3.1.1"
        log.info("connected", broker=self._settings.shown, protocol=self.state.protocol)
        self.state.refused = {}
        if self._subscriptions:  # here, so that it is made again after every reconnect
            how: Any = 1
            if self._mqtt5:
                how = SubscribeOptions(qos=1, retainAsPublished=self._as_published)
            client.subscribe([(topic, how) for topic in self._subscriptions])

    def _subscribed(self, reasons: Sequence[ReasonCode]) -> None:
        topics = list(self._subscriptions)  # one SUBACK for them all, in their order
        self.state.refused = {
            topic: str(reason) for topic, reason in zip(topics, reasons, strict=False) if reason.is_failure
        }
        self._note(trouble.unsubscribed(self.state.refused))
        self.subscribed.set()

    def _note(self, error: str) -> None:
        if error and error != self.state.error:
            log.warning("trouble with the broker", broker=self._settings.shown, error=error)
        self.state.error = error


def _tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file and str(settings.ca_file))
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            Problem("mqtt", "broker.ca_file, cert_file, key_file", str(error), "Name readable PEM files")
        ) from error
    return context


def connected(connection: Connection, timeout: float, *, subscribed: bool = False) -> None:
    """Wait until the connection stands.

    Raises
    ------
    SourceError
        If it does not within `timeout` seconds; `SourceRefused` if the broker refuses the login, or grants none of the
        subscriptions.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if connection.state.connected and (not subscribed or connection.subscribed.wait(0.5)):
            if subscribed and connection.unheard:
                raise SourceRefused(connection.state.error)
            return
        time.sleep(0.02)
        if connection.state.denied and connection.state.error:
            raise SourceRefused(connection.state.error)
    raise SourceError(f"no connection to the broker: {connection.state.error or 'no answer in time'}")
