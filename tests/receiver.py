"""A webhook for tests of alerts."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import until


class Receiver(ThreadingHTTPServer):
    """A webhook that stores what it receives and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []  # of each, with lower-case names
        self.status = 200
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        until(lambda: len(self.got) >= count)
        return self.got


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.server.got.append(body)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
