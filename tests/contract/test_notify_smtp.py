"""Mail in particular: login, encryption, recipients."""

import asyncio
import contextlib
import email
import email.policy
import ssl
import subprocess
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from alerts.notify import Notice, Notification
from alerts.notify.smtp import SmtpNotifier
from alerts.settings import Smtp
from domain.alert import Alert, AlertState, Condition, Severity
from domain.errors import NotificationError
from storage.delivery_records import Event

OPENED = 1_790_000_000_000


def notification(n=1, severity=Severity.CRITICAL):
    notices = []
    for i in range(1, n + 1):
        condition = Condition("leak", f"R{i:03d}", severity, f"R{i:03d}: Leak", 1.0, 0.0, "", OPENED)
        notices.append(Notice(Event.OPENED, Alert(i, condition, AlertState.OPEN, OPENED, OPENED)))
    return Notification("id-1", "lab", "Lab", ZoneInfo("UTC"), tuple(notices), "https://console.example")


class Mailbox:
    """Keeps mail; refuses recipients at refused.example."""

    def __init__(self):
        self.got = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.endswith("@refused.example"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        plain = mail.get_body(("plain",)).get_content().replace("\r\n", "\n")
        text = f"Subject: {mail['Subject']}\nImportance: {mail['Importance']}\n\n{plain}"
        self.got.append((envelope.rcpt_tos, text, session.ssl is not None))
        return "250 OK"


@contextlib.asynccontextmanager
async def server(**options):
    box = Mailbox()
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: SMTP(box, loop=loop, **options), "127.0.0.1", 0)
    box.port = listening.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        listening.close()


def settings(box, **more):
    fields = {
        "kind": "smtp",
        "host": "127.0.0.1",
        "port": box.port,
        "security": "none",
        "sender": "hallwatch@lab.example",
        "recipients": ["a@lab.example"],
        "timeout": 30,
    }
    return Smtp.model_validate(fields | more)


async def test_subject_and_body_of_one_alert_read_like_this():
    async with server() as box:
        await SmtpNotifier(settings(box)).send(notification())
    ((_, mail, _),) = box.got
    assert "Subject: [CRITICAL opened] R001: Leak (lab)" in mail
    assert "Importance: high" in mail
    assert mail.split("\n\n", 1)[1].splitlines()[:6] == [
        "R001: Leak",
        "  Object: R001",
        "  Value: 1",
        "  Limit: 0",
        "  Since: 2026-09-21 14:13:20 UTC",
        "  Alert: 1, leak, CRITICAL, opened",
    ]
    assert "https://console.example/alerts?alert=1&at=2026-09-21T14" in mail


async def test_a_mail_about_many_alerts_lists_fifty_and_counts_the_rest():
    async with server() as box:
        await SmtpNotifier(settings(box)).send(notification(96))
    ((_, mail, _),) = box.got
    assert "[CRITICAL opened] leak: R001, R002, R003, R004 and 92 more (lab)" in " ".join(mail.split())
    assert "... and 46 more." in mail
    assert mail.count("  Object: ") == 50


async def test_no_name_of_a_device_fills_a_mail_or_commands_its_reader():
    told = notification()
    condition = told.notices[0].alert.condition
    for field in ("said", "object_id"):
        object.__setattr__(condition, field, "R001\x1b[31m\x00\u202e\r\nBcc: x@y.example " + "x" * 10_000)
    async with server() as box:
        await SmtpNotifier(settings(box)).send(told)
    ((recipients, mail, _),) = box.got
    assert recipients == ["a@lab.example"]
    assert len(mail) < 3000
    assert not set(mail) & set("\x00\x1b\u202e")
    assert "\nBcc:" not in mail


async def test_a_recipient_that_is_refused_does_not_keep_the_mail_from_the_others():
    async with server() as box:
        recipients = ["gone@refused.example", "a@lab.example"]
        remark = await SmtpNotifier(settings(box, recipients=recipients)).send(notification())
    assert remark == "refused: gone@refused.example (550)"
    assert box.got[0][0] == ["a@lab.example"]


async def test_when_every_recipient_is_refused_for_good_trying_again_makes_no_sense():
    async with server() as box:
        with pytest.raises(NotificationError) as told:
            await SmtpNotifier(settings(box, recipients=["x@refused.example"])).send(notification())
    assert not told.value.retryable


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
async def test_login_uses_the_password_from_the_environment_and_a_wrong_one_is_not_tried_again(monkeypatch):
    def check(server, session, envelope, mechanism, data):
        right = (data.login, data.password) == (b"hallwatch", b"s3cret")
        return AuthResult(success=right, handled=False)

    login = {"username": "hallwatch", "password_env": "SMTP_PASSWORD_OF_THE_TEST"}
    async with server(authenticator=check, auth_require_tls=False, auth_required=True) as box:
        monkeypatch.setenv("SMTP_PASSWORD_OF_THE_TEST", "s3cret")
        await SmtpNotifier(settings(box, **login)).send(notification())
        monkeypatch.setenv("SMTP_PASSWORD_OF_THE_TEST", "wrong")
        with pytest.raises(NotificationError) as told:
            await SmtpNotifier(settings(box, **login)).send(notification())
    assert len(box.got) == 1
    assert not told.value.retryable
    assert "wrong" not in str(told.value)


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1 and its key."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.mark.server("openssl")
async def test_with_starttls_the_mail_is_encrypted_and_an_unknown_certificate_is_refused(certificate):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    async with server(tls_context=tls, require_starttls=True) as box:
        trusting = settings(box, security="starttls", ca_file=str(certificate[0]))
        await SmtpNotifier(trusting).send(notification())
        with pytest.raises(NotificationError) as told:
            await SmtpNotifier(settings(box, security="starttls")).send(notification())
    assert box.got[0][2]
    assert not told.value.retryable


async def test_a_server_without_starttls_gets_no_mail_in_the_clear():
    async with server() as box:
        with pytest.raises(NotificationError) as told:
            await SmtpNotifier(settings(box, security="starttls")).send(notification())
    assert box.got == []
    assert not told.value.retryable
