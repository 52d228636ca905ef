"""Flask on gevent's pywsgi: `python -m benchmarks.peers.flask_app <port> <workers>`; environment as for FastAPI's.

Workers are processes with a listening socket each on the same port. TCP_NODELAY is set: without it every keep-alive
request costs 44 ms, which would measure Nagle's algorithm.
"""

import os
import socket
import sys

from flask import Flask, Response, request
from gevent import socket as gevent_socket
from gevent.pywsgi import WSGIServer


def main(port: int, workers: int) -> None:
    """Serve in so many processes until SIGTERM, which whoever started them sends to the whole group."""
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    serve(port)


def serve(port: int) -> None:
    """Serve in this process."""
    from benchmarks.peers.inline import Scheduler  # after the fork: a database connection does not survive one

    scheduler = Scheduler()
    app = Flask("peer")

    @app.get("/noop")
    def noop() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/run")
    def run() -> Response:
        return Response(scheduler.run(request.get_json(), is_recorded=False), mimetype="application/json")

    @app.post("/recorded")
    def recorded() -> Response:
        return Response(scheduler.run(request.get_json(), is_recorded=True), mimetype="application/json")

    listener = gevent_socket.socket()
    for level, option in (
        (socket.SOL_SOCKET, socket.SO_REUSEADDR),
        (socket.SOL_SOCKET, socket.SO_REUSEPORT),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    ):
        listener.setsockopt(level, option, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1_024)
    WSGIServer(listener, app, log=None).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
