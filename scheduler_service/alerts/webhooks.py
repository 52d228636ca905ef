"""Notices as HTTP POST requests: JSON for a program, or a message for a robot of DingTalk, WeCom or Feishu.

Sources: open.dingtalk.com "Custom robot access" and "Security settings"; developer.work.weixin.qq.com document 91770;
open.feishu.cn "Custom bot usage guide".
"""

import base64
import email.utils
import hashlib
import hmac
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.message import Message
from typing import IO, ClassVar
from urllib.parse import quote_plus, urlsplit

from pydantic import SecretStr

from scheduler_service.alerts.notice import Notice, one_line, plain, shortened
from scheduler_service.alerts.redaction import redacted
from scheduler_service.clock import Clock, utc_now
from scheduler_service.errors import DeliveryFailed
from scheduler_service.settings import is_loopback
from scheduler_service.trace_context import outgoing_headers

TIMEOUT_S = 10.0
ANSWER_LIMIT_BYTES = 64 * 1024
# Fits in 20 kB, the smaller limit of DingTalk and Feishu, even if JSON escapes every character.
TEXT_LIMIT_BYTES = 9_000
WECOM_TEXT_LIMIT_BYTES = 2_048  # of a text message; markdown allows 4096, but would format names like a_b*
_TOO_MANY = re.compile("too many|frequen", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReplyFormat:
    """How a vendor reports an error, often with HTTP 200."""

    code_keys: tuple[str, ...]
    text_keys: tuple[str, ...]
    final_codes: frozenset[int]  # retrying does not help: token, signature, keyword, format
    wait_s: Mapping[int, float]  # code of a rate limit -> wait; if the code is also final, the text decides


class JsonWebhook:
    """Posts the notice and the JSON of the alert to a program; any 2xx is a success."""

    kind: ClassVar[str] = "json"
    reply: ClassVar[ReplyFormat | None] = None

    def __init__(
        self, url: SecretStr, *, secret: SecretStr | None = None, timeout_s: float = TIMEOUT_S, clock: Clock = utc_now
    ) -> None:
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._clock = clock
        self.name = f"{self.kind} {urlsplit(url.get_secret_value()).netloc}"

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def send(self, notice: Notice, *, key: str = "") -> None:
        """See `Channel.send`. Takes at most about `timeout_s` to connect, and the same for the answer."""
        try:
            body = json.dumps(self._body(notice), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        except (TypeError, ValueError) as err:
            raise self._failed(f"the alert cannot be written as JSON: {err}", is_final=True) from None
        status, headers, answered = self._post(body, key)
        self._judge(status, headers, answered)

    def _body(self, notice: Notice) -> dict[str, object]:
        return {
            **notice.payload,
            "title": one_line(notice.title),
            "text": plain(notice.text),
            "severity": notice.severity,
            "state": notice.state,
        }

    def _signed_url(self) -> str:
        return self._url.get_secret_value()

    def _post(self, body: bytes, key: str) -> tuple[int, Message, bytes]:
        headers = {"Content-Type": "application/json; charset=utf-8", **outgoing_headers()}
        headers |= {"Idempotency-Key": f'"{key}"'} if key else {}  # draft-ietf-httpapi-idempotency-key-header
        request = urllib.request.Request(self._signed_url(), data=body, headers=headers, method="POST")
        until = time.monotonic() + self._timeout_s
        try:
            with _opener(request.host).open(request, timeout=self._timeout_s) as response:
                return response.status, response.headers, _read(response, until)
        except urllib.error.HTTPError as err:
            with err:
                return err.code, err.headers, _read(err, until)
        except urllib.error.URLError as err:
            is_final = isinstance(err.reason, ssl.SSLCertVerificationError)
            raise self._failed(_reason(err.reason), is_final=is_final) from None
        except (OSError, http.client.HTTPException) as err:
            raise self._failed(_reason(err)) from None
        except ValueError as err:  # invalid address, which its text contains
            raise self._failed(f"the address cannot be used ({type(err).__name__})", is_final=True) from None

    def _judge(self, status: int, headers: Message, answered: bytes) -> None:
        """Raise DeliveryFailed unless the answer says that the message was accepted."""
        is_ok, code, text = 200 <= status < 300, *self._reply(answered)
        if is_ok and (self.reply is None or code == 0):
            return
        if is_ok and code is None:
            raise self._failed(f"HTTP {status}, but the answer is not one of a {self.kind} robot")
        reason = "" if is_ok else f"HTTP {status}"
        if 300 <= status < 400:
            reason += ": it redirects, which is not followed; configure the address it leads to"
        if code is not None:
            reason = f"{reason} code {code}: {text}".strip()
        is_temporary = is_ok or status in (408, 425, 429) or status >= 500
        wait_s, is_final = None, not is_temporary
        if self.reply is not None and code is not None:
            wait_s, is_known = self.reply.wait_s.get(code), code in self.reply.final_codes
            is_limited = wait_s is not None and (not is_known or _TOO_MANY.search(text) is not None)
            is_final = not is_limited and (is_known or is_final)
        raise self._failed(reason, is_final=is_final, retry_after_s=self._retry_after_s(headers) or wait_s)

    def _reply(self, answered: bytes) -> tuple[int | None, str]:
        """The code and the text of the vendor in an answer; (None, "") if it has none."""
        try:
            fields = json.loads(answered)
        except (ValueError, RecursionError):
            return None, ""
        if self.reply is None or not isinstance(fields, dict):
            return None, ""
        code = _first(fields, self.reply.code_keys)
        return code if isinstance(code, int) else None, str(_first(fields, self.reply.text_keys) or "")

    def _retry_after_s(self, headers: Message) -> float | None:
        value = headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
        try:
            moment = email.utils.parsedate_to_datetime(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return max(0.0, (moment - self._clock()).total_seconds())
        except (ValueError, OverflowError):
            return None

    def _failed(self, reason: str, *, is_final: bool = False, retry_after_s: float | None = None) -> DeliveryFailed:
        secrets = [self._secret.get_secret_value()] if self._secret else []
        text = shortened(one_line(redacted(reason, url=self._url.get_secret_value(), secrets=secrets)), 300)
        wait_s = None if is_final else retry_after_s
        return DeliveryFailed(
            "delivery_failed", channel=self.name, reason=text, is_final=is_final, retry_after_s=wait_s
        )


class DingTalkRobot(JsonWebhook):
    """A custom robot of DingTalk; messages are signed if there is a secret."""

    kind = "dingtalk"
    reply = ReplyFormat(
        code_keys=("errcode",),
        text_keys=("errmsg",),
        final_codes=frozenset({310000, 300001, 300005, 40035, 43004, 400013, 400101, 400102, 400105, 400106})
        | frozenset(range(430101, 430105)),
        # Above 20 messages per minute, the robot is blocked for ten minutes.
        wait_s={130101: 600.0, 410100: 600.0, 660026: 600.0, 90030: 3600.0},  # 90030: a quota is used up
    )

    def _body(self, notice: Notice) -> dict[str, object]:
        return {"msgtype": "text", "text": {"content": _message(notice, TEXT_LIMIT_BYTES)}}

    def _signed_url(self) -> str:
        url = self._url.get_secret_value()
        if self._secret is None:
            return url
        secret = self._secret.get_secret_value()
        timestamp_ms = round(self._clock().timestamp() * 1000)
        signature = _hmac_base64(secret.encode(), f"{timestamp_ms}\n{secret}".encode())
        joint = "&" if urlsplit(url).query else "?"
        return f"{url}{joint}timestamp={timestamp_ms}&sign={quote_plus(signature)}"


class WeComRobot(JsonWebhook):
    """A group robot of WeCom (企业微信)."""

    kind = "wecom"
    reply = ReplyFormat(
        code_keys=("errcode",),
        text_keys=("errmsg",),
        final_codes=frozenset({93000, 93004, 93008, 40001, 40008, 40014, 40058, 41001, 44004, 45002}),
        wait_s={45009: 60.0, 45033: 60.0},  # 20 messages a minute
    )

    def _body(self, notice: Notice) -> dict[str, object]:
        return {"msgtype": "text", "text": {"content": _message(notice, WECOM_TEXT_LIMIT_BYTES)}}


class FeishuRobot(JsonWebhook):
    """A custom bot of Feishu; messages are signed if there is a secret."""

    kind = "feishu"
    reply = ReplyFormat(
        code_keys=("code", "StatusCode"),  # the second: older hooks
        text_keys=("msg", "StatusMessage"),
        final_codes=frozenset({9499, 19001, 19002, 19007, 19021, 19022, 19024}),
        # 9499 means "Bad Request" or "too many request".
        wait_s={9499: 60.0, 11232: 60.0, 230020: 60.0, 99991400: 60.0},
    )

    def _body(self, notice: Notice) -> dict[str, object]:
        # Not a text message, in which "<at user_id=...>" in a name would mention users.
        lines = shortened(plain(notice.text), TEXT_LIMIT_BYTES)
        content = {"title": shortened(one_line(notice.title), 300), "content": [[{"tag": "text", "text": lines}]]}
        body: dict[str, object] = {"msg_type": "post", "content": {"post": {"zh_cn": content}}}
        if self._secret is None:
            return body
        timestamp_s = int(self._clock().timestamp())
        key = f"{timestamp_s}\n{self._secret.get_secret_value()}".encode()
        return {"timestamp": str(timestamp_s), "sign": _hmac_base64(key, b"")} | body


ROBOTS: dict[str, type[JsonWebhook]] = {cls.kind: cls for cls in (JsonWebhook, DingTalkRobot, WeComRobot, FeishuRobot)}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token in the address and the alert are for the configured host only."""

    def redirect_request(self, *_: object) -> None:
        return None


def _opener(host: str) -> urllib.request.OpenerDirector:
    """For one request. Uses the proxies of the environment (https_proxy, no_proxy), except for loopback."""
    name = urlsplit(f"//{host}").hostname or ""
    proxies = urllib.request.ProxyHandler({} if is_loopback(name) else None)
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    return urllib.request.build_opener(proxies, secure, _NoRedirects())


def _read(response: http.client.HTTPResponse | IO[bytes], until: float) -> bytes:
    """The answer, cut at `ANSWER_LIMIT_BYTES` and at the time `until`, so that slow answers do not block."""
    found = b""
    read_some = getattr(response, "read1", response.read)
    try:
        while len(found) < ANSWER_LIMIT_BYTES and time.monotonic() < until:
            some = read_some(ANSWER_LIMIT_BYTES - len(found))
            if not some:
                break
            found += some
    except (OSError, http.client.HTTPException):
        pass  # incomplete JSON is not a success
    return found


def _reason(err: object) -> str:
    """A text for a connection error that cannot contain the address."""
    if isinstance(err, TimeoutError):
        return "no answer in time"
    if isinstance(err, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {err.verify_message}"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    if isinstance(err, OSError) and str(err).startswith("Tunnel connection failed"):
        return f"the proxy refuses: {err}"
    return type(err).__name__


def _first(fields: Mapping[str, object], keys: tuple[str, ...]) -> object:
    return next((fields[key] for key in keys if key in fields), None)


def _message(notice: Notice, limit_bytes: int) -> str:
    return shortened(f"{one_line(notice.title)}\n{plain(notice.text)}", limit_bytes)


def _hmac_base64(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
