"""Notices as e-mail."""

import base64
import contextlib
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from scheduler_service.alerts.notice import Notice, one_line, plain, shortened
from scheduler_service.alerts.redaction import redacted
from scheduler_service.clock import Clock, utc_now
from scheduler_service.errors import DeliveryFailed
from scheduler_service.settings import SMTP_PORTS

TIMEOUT_S = 10.0
SUBJECT_LIMIT_BYTES = 400
TEXT_LIMIT_BYTES = 200_000


class Mail:
    """One message to all recipients through one server."""

    def __init__(
        self,
        url: SecretStr,
        *,
        sender: str,
        recipients: Sequence[str],
        timeout_s: float = TIMEOUT_S,
        clock: Clock = utc_now,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._sender = sender
        self._recipients = tuple(recipients)
        self._timeout_s = timeout_s
        self._clock = clock
        self._tls = tls or ssl.create_default_context()
        parts = urlsplit(url.get_secret_value())
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        self._port = parts.port or SMTP_PORTS[parts.scheme]
        self.name = f"mail {self._host}:{self._port}"

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def send(self, notice: Notice, *, key: str = "") -> None:
        """See `Channel.send`.

        If the server refuses only some recipients, the failure is final: sending again would reach the others twice.
        """
        try:
            refused = self._deliver(self._message(notice, key))
        except smtplib.SMTPRecipientsRefused as err:
            is_final = all(code >= 500 for code, _ in err.recipients.values())
            raise self._failed(f"refused every recipient: {_refusals(err.recipients)}", is_final=is_final) from None
        except smtplib.SMTPResponseException as err:
            is_final = err.smtp_code >= 500
            raise self._failed(f"{err.smtp_code} {_text(err.smtp_error)}", is_final=is_final) from None
        except smtplib.SMTPNotSupportedError:
            raise self._failed("offers neither STARTTLS nor a supported login", is_final=True) from None
        except ssl.SSLCertVerificationError as err:
            raise self._failed(f"its certificate is not trusted: {err.verify_message}", is_final=True) from None
        except TimeoutError:
            raise self._failed("no answer in time") from None
        except smtplib.SMTPException as err:
            raise self._failed(type(err).__name__) from None
        except OSError as err:
            raise self._failed(err.strerror or type(err).__name__) from None
        except ValueError as err:  # the login cannot be encoded; the text of the error would contain it
            raise self._failed(f"user or password cannot be sent ({type(err).__name__})", is_final=True) from None
        if refused:
            raise self._failed(f"delivered, but not to {_refusals(refused)}", is_final=True)

    def _message(self, notice: Notice, key: str) -> EmailMessage:
        message, domain = EmailMessage(), self._sender.partition("@")[2]
        message["Subject"] = shortened(one_line(notice.title), SUBJECT_LIMIT_BYTES)
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Date"] = format_datetime(self._clock())
        message["Message-ID"] = f"<{key}@{domain}>" if key else make_msgid(domain=domain)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents automatic replies
        message.set_content(shortened(plain(notice.text), TEXT_LIMIT_BYTES), charset="utf-8", cte="base64")
        return message

    def _deliver(self, message: EmailMessage) -> dict[str, tuple[int, bytes]]:
        """Send `message`; returns the refused recipients if others were accepted."""
        parts = urlsplit(self._url.get_secret_value())
        server = (
            smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout_s, context=self._tls)
            if self._scheme == "smtps"
            else smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        )
        try:
            if self._scheme == "smtp+starttls":
                server.starttls(context=self._tls)
            if parts.username is not None:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            refused = server.send_message(message, self._sender, self._recipients)
            # The message is delivered, so a failure to quit must not cause another attempt.
            with contextlib.suppress(OSError, smtplib.SMTPException):
                server.quit()
            return refused
        finally:
            server.close()

    def _failed(self, reason: str, *, is_final: bool = False) -> DeliveryFailed:
        url = self._url.get_secret_value()
        text = shortened(one_line(redacted(reason, url=url, secrets=_logins(url))), 300)
        return DeliveryFailed("delivery_failed", channel=self.name, reason=text, is_final=is_final)


def _logins(url: str) -> list[str]:
    """The encoded passwords that AUTH PLAIN and AUTH LOGIN send."""
    parts = urlsplit(url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    sent = (f"\0{user}\0{password}", password) if password else ()
    return [base64.b64encode(each.encode()).decode() for each in sent]


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{who} ({code} {_text(reply)})" for who, (code, reply) in refused.items())


def _text(reply: bytes | str) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
