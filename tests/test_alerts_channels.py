"""Channels: what vendors receive, how their refusals are interpreted, and that no secret is ever shown.

Each test uses a real server on loopback that checks requests as the vendor's documentation describes.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import smtplib
import socket
import sqlite3
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from pydantic import SecretStr, ValidationError

from enhanced_flask import create_app
from scheduler_service.alerts.channels import channels_from
from scheduler_service.alerts.mail import Mail
from scheduler_service.alerts.notice import Channel, Notice, shortened
from scheduler_service.alerts.webhooks import ROBOTS, JsonWebhook
from scheduler_service.errors import DeliveryFailed
from scheduler_service.http.services import EXTENSION
from scheduler_service.settings import Settings, settings_from_environment
from tests.waiting import HANG_S

TOKEN = "t0ken-that-nobody-may-see"
SECRET = "SEC-that-nobody-may-see"
NOW = datetime(2026, 11, 25, 4, 0, 0, 123_000, tzinfo=UTC)
NOTICE = Notice(
    title="[告警] 平均总工期高于阈值 🚨",
    text='DDQN_v1.0: 612 h, 阈值 600 h\n请检查 <at user_id="all"></at> *a_b*',
    severity="critical",
    state="firing",
    payload={"rule": "makespan", "value": 612.5, "title": "the alert's own"},
)
SUCCESS = {
    "json": {},
    "dingtalk": {"errcode": 0, "errmsg": "ok"},
    "wecom": {"errcode": 0, "errmsg": "ok"},
    "feishu": {"code": 0, "msg": "success", "data": {}, "StatusCode": 0, "StatusMessage": "success"},
}


@dataclass
class Vendor:
    """A server that stores what it receives and gives the configured answer."""

    status: int = 200
    answer: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    answers: threading.Event = field(default_factory=threading.Event)  # no request is answered until this is set
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answered: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.answers.set()

    def url(self, path: str = f"/robot/{TOKEN}?access_token={TOKEN}") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def body(self) -> Any:
        return json.loads(self.got[-1][2])


@contextmanager
def serving(vendor: Vendor) -> Iterator[Vendor]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            vendor.got.append((self.path, dict(self.headers), body))
            vendor.answers.wait(HANG_S)
            vendor.answered += 1
            answer = vendor.answer(self.path, body.decode()) if callable(vendor.answer) else vendor.answer
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(vendor.status)
            for name, value in vendor.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # clients that disconnect are part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    vendor.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield vendor
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SCHED_{name.upper()}", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    settings_from_environment.cache_clear()
    yield
    settings_from_environment.cache_clear()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serving(Vendor()) as running:
        yield running


def robot(kind: str, url: str, *, secret: str | None = None, timeout_s: float = 5.0) -> JsonWebhook:
    return ROBOTS[kind](
        SecretStr(url), secret=SecretStr(secret) if secret else None, timeout_s=timeout_s, clock=lambda: NOW
    )


def failure(channel: Channel, notice: Notice = NOTICE) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        channel.send(notice)
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert TOKEN not in text
    assert SECRET not in text
    assert str(caught.value).startswith(channel.name)
    return caught.value


def refusal(vendor: Vendor, kind: str, status: int, answer: Any) -> DeliveryFailed:
    vendor.status, vendor.answer = status, answer
    return failure(robot(kind, vendor.url(), secret=SECRET))


# --- requests to vendors ---


def test_the_json_webhook_receives_the_notice_and_the_alert(vendor):
    vendor.status = 204
    robot("json", vendor.url()).send(NOTICE)
    assert vendor.body() == {
        "title": NOTICE.title,
        "text": NOTICE.text,
        "severity": "critical",
        "state": "firing",
        "rule": "makespan",
        "value": 612.5,
    }
    assert vendor.got[0][1]["Content-Type"] == "application/json; charset=utf-8"


def test_dingtalk_receives_a_text_signed_in_the_query(vendor):
    vendor.answer = SUCCESS["dingtalk"]
    robot("dingtalk", vendor.url(), secret=SECRET).send(NOTICE)
    query = parse_qs(urlsplit(vendor.got[0][0]).query, strict_parsing=True)
    stamp = query["timestamp"][0]
    digest = hmac.new(SECRET.encode(), f"{stamp}\n{SECRET}".encode(), hashlib.sha256).digest()
    assert stamp == "1795579200123"
    assert query["sign"] == [base64.b64encode(digest).decode()]
    assert query["access_token"] == [TOKEN]
    assert vendor.body() == {"msgtype": "text", "text": {"content": f"{NOTICE.title}\n{NOTICE.text}"}}


def test_dingtalk_without_a_secret_is_not_signed(vendor):
    vendor.answer = SUCCESS["dingtalk"]
    robot("dingtalk", vendor.url()).send(NOTICE)
    assert urlsplit(vendor.got[0][0]).query == f"access_token={TOKEN}"


def test_wecom_receives_a_text(vendor):
    vendor.answer = SUCCESS["wecom"]
    robot("wecom", vendor.url()).send(NOTICE)
    assert vendor.body() == {"msgtype": "text", "text": {"content": f"{NOTICE.title}\n{NOTICE.text}"}}


def test_feishu_receives_a_post_signed_in_the_body_without_mentions(vendor):
    vendor.answer = SUCCESS["feishu"]
    robot("feishu", vendor.url(), secret=SECRET).send(NOTICE)
    body = vendor.body()
    key = f"{body['timestamp']}\n{SECRET}".encode()
    assert body["timestamp"] == str(int(NOW.timestamp()))
    assert body["sign"] == base64.b64encode(hmac.new(key, digestmod=hashlib.sha256).digest()).decode()
    assert body["msg_type"] == "post"
    content = {"title": NOTICE.title, "content": [[{"tag": "text", "text": NOTICE.text}]]}
    assert body["content"] == {"post": {"zh_cn": content}}


def test_the_older_success_answer_of_feishu_is_accepted(vendor):
    vendor.answer = {"Extra": None, "StatusCode": 0, "StatusMessage": "success"}
    robot("feishu", vendor.url()).send(NOTICE)


@pytest.mark.parametrize("kind", ROBOTS)
def test_a_title_is_one_line_and_any_text_can_be_sent(vendor, kind):
    vendor.answer = SUCCESS[kind]
    notice = Notice("a\r\nb\u2028c\x00", "x\x1b[31m\r\ny \ud800 👨‍👩‍👧", "info", "test", {})
    robot(kind, vendor.url()).send(notice)
    sent = json.dumps(vendor.body(), ensure_ascii=False)
    assert "a b c" in sent
    assert "x[31m\\ny ? 👨‍👩‍👧" in sent


@pytest.mark.parametrize(("kind", "limit_bytes"), [("dingtalk", 20_000), ("wecom", 2048), ("feishu", 20_000)])
@pytest.mark.parametrize("character", ["停", '"', "🚨", "\n"])
def test_a_long_text_is_cut_to_the_vendors_limit(vendor, kind, limit_bytes, character):
    vendor.answer = SUCCESS[kind]
    robot(kind, vendor.url()).send(Notice("标题", character * 30_000, "info", "test", {}))
    raw, body = vendor.got[0][2], vendor.body()
    size = len(body["text"]["content"].encode()) if kind == "wecom" else len(raw)
    assert limit_bytes * 0.4 < size <= limit_bytes
    assert "…" in raw.decode()


def test_a_text_is_cut_between_characters():
    assert shortened("停机检修", 12) == "停机检修"
    assert shortened("停机检修", 11) == "停机…"
    assert shortened("停机检修", 3) == "…"


# --- refusals ---


@pytest.mark.parametrize(
    ("kind", "status", "answer"),
    [
        ("dingtalk", 200, {"errcode": 310000, "errmsg": "keywords not in content"}),
        ("dingtalk", 200, {"errcode": 310000, "errmsg": "sign not match"}),
        ("dingtalk", 200, {"errcode": 300001, "errmsg": f"token {TOKEN} is not exist"}),
        ("wecom", 200, {"errcode": 93000, "errmsg": "invalid webhook url, hint: [1], from ip: 1.2.3.4"}),
        ("feishu", 200, {"code": 19021, "msg": "sign match fail or timestamp is not within one hour"}),
        ("feishu", 200, {"code": 19024, "msg": "Key Words Not Found"}),
        ("feishu", 400, {"code": 9499, "msg": "Bad Request", "data": {}}),
        ("feishu", 400, {"code": 19001, "msg": "param invalid: incoming webhook access token invalid"}),
        ("json", 401, {"token": TOKEN}),
        ("json", 404, {}),
        ("wecom", 403, b"<html>forbidden</html>"),
    ],
)
def test_a_wrong_token_signature_or_keyword_is_final(vendor, kind, status, answer):
    assert refusal(vendor, kind, status, answer).is_final


@pytest.mark.parametrize(
    ("kind", "status", "answer", "wait_s"),
    [
        ("dingtalk", 200, {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}, 600.0),
        ("dingtalk", 200, {"errcode": -1, "errmsg": "系统繁忙"}, None),
        ("wecom", 200, {"errcode": 45009, "errmsg": "api freq out of limit"}, 60.0),
        ("feishu", 200, {"code": 9499, "msg": "too many request", "data": {}}, 60.0),
        ("feishu", 400, {"code": 11232, "msg": "create message service trigger rate limit"}, 60.0),
        ("feishu", 400, {"code": 99991400, "msg": "request trigger frequency limit"}, 60.0),
        ("json", 500, {}, None),
        ("dingtalk", 502, b"<html>bad gateway</html>", None),
        ("wecom", 200, b"<html>log in to this network</html>", None),
        ("feishu", 200, {}, None),
        ("dingtalk", 200, {"errcode": "0"}, None),
    ],
)
def test_a_rate_limit_or_a_server_error_is_not_final(vendor, kind, status, answer, wait_s):
    failed = refusal(vendor, kind, status, answer)
    assert (failed.is_final, failed.retry_after_s) == (False, wait_s)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("7", 7.0),
        (format_datetime(NOW.replace(microsecond=0) + timedelta(seconds=30)), 29.877),
        ("soon", None),
        ("-1", None),
    ],
)
def test_the_retry_after_of_a_429_is_used(vendor, value, wait_s):
    vendor.headers = {"Retry-After": value}
    failed = refusal(vendor, "json", 429, {})
    assert not failed.is_final
    assert failed.retry_after_s == (None if wait_s is None else pytest.approx(wait_s))


def test_the_vendors_reason_is_shown_without_secrets(vendor):
    failed = refusal(vendor, "dingtalk", 200, {"errcode": 300001, "errmsg": f"token {TOKEN} {SECRET}\nis not exist"})
    assert str(failed) == f"dingtalk 127.0.0.1:{vendor.port}: code 300001: token *** *** is not exist"


ECHOED = {
    "the address": lambda path, body: f"no such robot: {path}",
    "the address, decoded": lambda path, body: f"no such robot: {unquote(path)}",
    "the address in JSON": lambda path, body: json.dumps({"url": path.replace("/", "\\/")}),
    "its values": lambda path, body: f"cannot use {sorted(parse_qs(urlsplit(path).query).items())}",
    "the body": lambda path, body: f"bad request: {body}",
    "a bare signature": lambda path, body: f"sign match fail: {parse_qs(urlsplit(path).query).get('sign', ['?'])[0]}",
}


def refusing(echoed):
    """The answer of a vendor that repeats the request."""

    def answer(path, body):
        echo = echoed(path, body)
        return {"errcode": 1, "code": 1, "errmsg": echo, "msg": echo}

    return answer


@pytest.mark.parametrize("echoed", ECHOED.values(), ids=ECHOED)
@pytest.mark.parametrize("kind", ROBOTS)
def test_secrets_repeated_by_the_vendor_are_not_shown(vendor, kind, echoed):
    url = f"{vendor.url()}&sign=short&key=k1&mine=v%2B22"
    channel = robot(kind, url, secret=SECRET)
    vendor.status, vendor.answer = 500, refusing(echoed)
    text = str(failure(channel))
    path, _, body = vendor.got[-1]
    signatures = [*parse_qs(urlsplit(path).query).get("sign", [])[1:], json.loads(body).get("sign", "none is sent")]
    for secret in (*signatures, *map(quote_plus, signatures), "short", "v+22", "v%2B22", "=k1"):
        assert secret not in text


def test_a_redirect_is_not_followed(vendor):
    with serving(Vendor(answer={})) as elsewhere:
        vendor.headers = {"Location": elsewhere.url()}
        failed = refusal(vendor, "json", 302, {})
        assert failed.is_final
        assert elsewhere.got == []


def test_a_slow_server_times_out(vendor):
    vendor.answers.clear()
    assert not failure(robot("json", vendor.url(), timeout_s=0.3)).is_final
    assert vendor.answered == 0
    vendor.answers.set()


def test_an_endless_answer_is_not_read_completely(vendor):
    vendor.answer = b"[" * 5_000_000
    assert not failure(robot("wecom", vendor.url())).is_final


def test_a_refused_connection_is_not_final():
    failed = failure(robot("json", f"http://127.0.0.1:{free_port()}/{TOKEN}"))
    assert not failed.is_final
    assert "refused" in str(failed)


@contextmanager
def serving_once(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of a server that calls `answer` with its only connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])


def test_an_untrusted_certificate_is_final():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serving_once(lambda connection: context.wrap_socket(connection, server_side=True)) as port:
        failed = failure(robot("json", f"https://127.0.0.1:{port}/{TOKEN}"))
    assert failed.is_final
    assert "certificate" in str(failed)


def test_the_proxy_of_the_environment_is_not_used_for_loopback(vendor, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    robot("json", vendor.url()).send(NOTICE)
    assert len(vendor.got) == 1


def test_the_proxy_of_the_environment_is_used_for_other_hosts(vendor, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{vendor.port}")
    robot("json", "http://plant.invalid/alerts").send(NOTICE)
    assert vendor.got[0][0] == "http://plant.invalid/alerts"


def test_the_refusal_of_a_proxy_is_reported(monkeypatch):
    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with serving_once(refuse) as port:
        monkeypatch.setenv("https_proxy", f"http://user:{SECRET}@127.0.0.1:{port}")
        failed = failure(robot("dingtalk", f"https://oapi.dingtalk.invalid/robot/send?access_token={TOKEN}"))
    assert "the proxy refuses: Tunnel connection failed: 403" in str(failed)


def test_an_answer_sent_byte_by_byte_times_out():
    is_given_up, bytes_sent = threading.Event(), 3_000  # five minutes

    def drip(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        try:
            for _ in range(bytes_sent):
                connection.sendall(b" ")
                time.sleep(0.1)
        except OSError:
            is_given_up.set()

    with serving_once(drip) as port:
        failed = failure(robot("wecom", f"http://127.0.0.1:{port}/{TOKEN}", timeout_s=0.4))
        assert is_given_up.wait(HANG_S / 2), "aborted long before the end of the answer"
    assert not failed.is_final


def test_an_alert_that_json_cannot_represent_is_final(vendor):
    failed = failure(robot("json", vendor.url()), Notice("t", "x", "info", "test", {"value": float("nan")}))
    assert failed.is_final
    assert vendor.got == []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# --- mail ---


@dataclass
class Mailbox:
    """The mails that a server accepted; it refuses recipients at refused.example and later.example."""

    got: list[tuple[list[str], bytes]] = field(default_factory=list)
    data_answer: str = "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.endswith("@refused.example"):
            return "550 5.1.1 no such user"
        if address.endswith("@later.example"):
            return "450 4.2.0 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.data_answer.startswith("250"):
            self.got.append((envelope.rcpt_tos, envelope.content))
        return self.data_answer


@contextmanager
def mail_server(box: Mailbox, *, ssl_context: ssl.SSLContext | None = None, **options: Any) -> Iterator[int]:
    class Server(Controller):
        def factory(self) -> SMTP:
            return SMTP(self.handler, **options)

    controller = Server(box, hostname="127.0.0.1", port=free_port(), ssl_context=ssl_context)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def mail(url: str, *recipients: str, tls: ssl.SSLContext | None = None) -> Mail:
    to = recipients or ("operator@plant.example",)
    return Mail(SecretStr(url), sender="alerts@plant.example", recipients=to, timeout_s=5.0, clock=lambda: NOW, tls=tls)


def tls_pair() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server on 127.0.0.1 and of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


def only(user: bytes, password: bytes) -> Any:
    def check(server, session, envelope, mechanism, given):
        return AuthResult(success=(given.login, given.password) == (user, password), handled=False)

    return check


def test_a_mail_has_subject_text_date_and_id():
    with mail_server(box := Mailbox()) as port:
        mail(f"smtp://127.0.0.1:{port}", "a@plant.example", "b@plant.example").send(NOTICE, key="0a1b")
    ((recipients, raw),) = box.got
    got = message_from_bytes(raw, policy=policy.default)
    assert recipients == ["a@plant.example", "b@plant.example"]
    assert (got["Subject"], got["From"]) == (NOTICE.title, "alerts@plant.example")
    assert got["To"] == "a@plant.example, b@plant.example"
    assert got.get_content().strip() == NOTICE.text
    assert got["Date"].datetime == NOW.replace(microsecond=0)
    assert got["Message-ID"] == "<0a1b@plant.example>"
    assert got["Auto-Submitted"] == "auto-generated"


def test_a_title_cannot_inject_a_header():
    with mail_server(box := Mailbox()) as port:
        title = "x\r\nBcc: thief@evil.example\r\n\r\nbody " + "长" * 3000
        mail(f"smtp://127.0.0.1:{port}").send(Notice(title, "停" * 100_000, "info", "test", {}))
    ((recipients, raw),) = box.got
    got = message_from_bytes(raw, policy=policy.default)
    assert recipients == ["operator@plant.example"]
    assert got["Bcc"] is None
    assert got["Subject"].startswith("x Bcc: thief@evil.example body 长")
    assert max(len(line) for line in raw.splitlines()) <= 998


def test_starttls_and_login_with_a_percent_encoded_password():
    server, client = tls_pair()
    options = {"tls_context": server, "require_starttls": True, "auth_required": True}
    with mail_server(box := Mailbox(), authenticator=only(b"plant/1", b"p@ss:w/rd%"), **options) as port:
        mail(f"smtp+starttls://plant%2F1:p%40ss%3Aw%2Frd%25@127.0.0.1:{port}", tls=client).send(NOTICE)
    assert len(box.got) == 1


def test_smtps_is_encrypted_from_the_start():
    server, client = tls_pair()
    with mail_server(box := Mailbox(), ssl_context=server) as port:
        mail(f"smtps://127.0.0.1:{port}", tls=client).send(NOTICE)
    assert len(box.got) == 1


@pytest.mark.parametrize(("options", "reason"), [({"tls_context": tls_pair()[0]}, "certificate"), ({}, "STARTTLS")])
def test_nothing_is_sent_without_starttls_or_with_an_unknown_certificate(options, reason):
    with mail_server(box := Mailbox(), **options) as port:
        failed = failure(mail(f"smtp+starttls://u:{SECRET}@127.0.0.1:{port}"))
    assert (failed.is_final, box.got) == (True, [])
    assert reason in str(failed)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_wrong_password_is_final():
    options = {"auth_require_tls": False, "auth_required": True}
    with mail_server(Mailbox(), authenticator=only(b"u", b"right"), **options) as port:
        failed = failure(mail(f"smtp://u:{SECRET}@127.0.0.1:{port}"))
    assert failed.is_final
    assert "535" in str(failed)


@pytest.mark.parametrize("password", ["pw", SECRET])
def test_the_login_is_not_shown_if_the_mail_server_repeats_it(password):
    sent = (f"\0u\0{password}", password)
    repeated = [password, *(base64.b64encode(each.encode()).decode() for each in sent)]
    with mail_server(Mailbox(data_answer=f"554 {' '.join(repeated)}")) as port:
        text = str(failure(mail(f"smtp://u:{password}@127.0.0.1:{port}")))
    assert not any(each in text for each in repeated)


def test_a_password_that_smtp_cannot_encode_is_final():
    with mail_server(Mailbox(), authenticator=only(b"u", b"x"), auth_require_tls=False) as port:
        failed = failure(mail(f"smtp://u:{SECRET}%E5%81%9C@127.0.0.1:{port}"))
    assert failed.is_final


def test_an_unknown_recipient_is_final_and_a_greylisted_one_is_not():
    with mail_server(Mailbox()) as port:
        refused = failure(mail(f"smtp://127.0.0.1:{port}", "x@refused.example"))
        later = failure(mail(f"smtp://127.0.0.1:{port}", "x@later.example"))
    assert (refused.is_final, later.is_final) == (True, False)
    assert "x@refused.example (550 5.1.1 no such user)" in str(refused)


def test_if_one_recipient_is_refused_the_others_receive_the_mail_once():
    with mail_server(box := Mailbox()) as port:
        failed = failure(mail(f"smtp://127.0.0.1:{port}", "a@plant.example", "x@later.example"))
    assert [recipients for recipients, _ in box.got] == [["a@plant.example"]]
    assert failed.is_final
    assert "not to x@later.example" in str(failed)


@pytest.mark.parametrize(("answer", "is_final"), [("451 try later", False), ("554 spam", True)])
def test_a_temporary_refusal_of_a_mail_is_retried_and_a_permanent_one_is_not(answer, is_final):
    with mail_server(Mailbox(data_answer=answer)) as port:
        assert failure(mail(f"smtp://127.0.0.1:{port}")).is_final is is_final


def test_an_unreachable_mail_server_is_not_final():
    assert not failure(mail(f"smtp://127.0.0.1:{free_port()}")).is_final


def test_a_silent_mail_server_times_out():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = mail(f"smtp://127.0.0.1:{listener.getsockname()[1]}")
        channel._timeout_s = 0.3
        assert not failure(channel).is_final


def test_a_failed_quit_does_not_undo_the_delivery(monkeypatch):
    def broken(self):
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr(smtplib.SMTP, "quit", broken)
    with mail_server(box := Mailbox()) as port:
        mail(f"smtp://127.0.0.1:{port}").send(NOTICE)
    assert len(box.got) == 1


# --- settings ---

MAIL = {
    "alert_smtp_url": f"smtps://user:{TOKEN}@smtp.plant.example",
    "alert_mail_from": "alerts@plant.example",
    "alert_mail_to": "a@plant.example, b@plant.example",
}


def test_nothing_is_sent_by_default():
    assert channels_from(Settings()) == ()


def test_channels_follow_the_settings_and_have_distinct_names(caplog):
    dingtalk = f"dingtalk=https://oapi.dingtalk.com/robot/send?access_token={TOKEN}"
    settings = Settings(
        alert_webhooks=f"{dingtalk}, {dingtalk}2,json=http://scada:8080/{TOKEN}", alert_dingtalk_secret=SECRET, **MAIL
    )
    channels = channels_from(settings)
    assert [channel.name for channel in channels] == [
        "dingtalk oapi.dingtalk.com",
        "dingtalk oapi.dingtalk.com #2",
        "json scada:8080",
        "mail smtp.plant.example:465",
    ]
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("%s %r %s", settings, channels, settings.model_dump())
    assert TOKEN not in caplog.text
    assert SECRET not in caplog.text


def test_the_secret_of_the_settings_is_used_for_the_signature(vendor):
    vendor.answer = SUCCESS["feishu"]
    (channel,) = channels_from(Settings(alert_webhooks=f"feishu={vendor.url()}", alert_feishu_secret=SECRET))
    channel.send(NOTICE)
    assert "sign" in vendor.body()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"WEBHOOKS": f"slack=https://x.example/{TOKEN}"}, "SCHED_ALERT_WEBHOOKS: .*dingtalk"),
        ({"WEBHOOKS": f"https://x.example/{TOKEN}"}, "SCHED_ALERT_WEBHOOKS: .*<kind>=<url>"),
        ({"WEBHOOKS": f"json=https:///{TOKEN}"}, "SCHED_ALERT_WEBHOOKS: .*https://host"),
        ({"WEBHOOKS": f"json=ftp://x.example/{TOKEN}"}, "SCHED_ALERT_WEBHOOKS: .*https://host"),
        ({"WEBHOOKS": f"json=https://x.example:99999/{TOKEN}"}, "SCHED_ALERT_WEBHOOKS: .*https://host"),
        ({"WEBHOOKS": f"json=https://u:{TOKEN}@x.example/"}, "SCHED_ALERT_WEBHOOKS: .*user"),
        ({"WEBHOOKS": f"wecom=http://relay.example/{TOKEN}"}, "SCHED_ALERT_WEBHOOKS: .*use https"),
        ({"SMTP_URL": f"mail://u:{TOKEN}@x.example"}, "SCHED_ALERT_SMTP_URL: .*starttls"),
        ({"SMTP_URL": f"smtp://u:{TOKEN}@x.example"}, "SCHED_ALERT_SMTP_URL: .*smtps://"),
        ({"SMTP_URL": f"smtps://{TOKEN}@x.example"}, "SCHED_ALERT_SMTP_URL: .*password"),
        ({"SMTP_URL": f"smtps://u:{TOKEN}@x.example"}, "SCHED_ALERT_MAIL_TO together"),
        ({"MAIL_FROM": "a@b.example\r\nBcc: c@d.example"}, "SCHED_ALERT_MAIL_FROM: .*plain address"),
        ({"MAIL_TO": "a@b.example,nobody"}, "SCHED_ALERT_MAIL_TO: .*'nobody'"),
    ],
)
def test_an_invalid_setting_is_named_without_its_secret(monkeypatch, given, expected):
    for name, value in given.items():
        monkeypatch.setenv(f"SCHED_ALERT_{name}", value)
    with pytest.raises(SystemExit, match=expected) as caught:
        settings_from_environment()
    with pytest.raises(ValidationError) as printed:
        Settings()
    assert TOKEN not in str(caught.value)
    assert TOKEN not in str(printed.value)


def test_an_empty_variable_is_the_same_as_an_unset_one(monkeypatch):
    for name in ("WEBHOOKS", "DINGTALK_SECRET", "FEISHU_SECRET", "SMTP_URL", "MAIL_FROM", "MAIL_TO"):
        monkeypatch.setenv(f"SCHED_ALERT_{name}", "")
    assert channels_from(Settings()) == ()


def test_settings_can_be_rebuilt_from_their_dump():
    settings = Settings(alert_webhooks="json=https://a.example/x", **MAIL)
    assert Settings(**settings.model_dump()) == settings


# --- the output of the service ---


def test_the_service_reports_failures_without_secrets(vendor, tmp_path, caplog):
    vendor.status, vendor.answer = 500, refusing(ECHOED["the address"])
    addresses = ",".join(f"{kind}={vendor.url()}" for kind in ROBOTS)
    secrets = {"alert_dingtalk_secret": SECRET, "alert_feishu_secret": SECRET}
    app = create_app(Settings(home=tmp_path, alert_webhooks=addresses, **secrets))
    parts = app.extensions[EXTENSION]
    parts.desk.tell("the pumps are late")
    parts.desk.deliver()
    client = app.test_client()
    shown = client.post("/alerts/test").text + client.get("/alerts").text + caplog.text
    with contextlib.closing(sqlite3.connect(tmp_path / "logs" / "performance.db")) as database:
        shown += "\n".join(database.iterdump())
    signatures = {parse_qs(urlsplit(path).query).get("sign", [TOKEN])[0] for path, *_ in vendor.got}
    signatures |= {json.loads(body).get("sign", TOKEN) for *_, body in vendor.got}
    assert len(signatures) >= 3
    assert shown.count("no such robot") >= 6
    for secret in (TOKEN, SECRET, *signatures, *map(quote_plus, signatures)):
        assert secret not in shown
