"""gunicorn's gevent worker without monkey patching: locks stay real, because native threads use them (`offload`)."""

from gevent import socket
from gunicorn.workers.ggevent import GeventWorker


class UnpatchedGeventWorker(GeventWorker):  # type: ignore[misc]
    """Greenlets for connections; the listening sockets are gevent's, everything else is as Python has it."""

    def patch(self) -> None:
        self.sockets: list[socket.socket] = [
            socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
            for listener in self.sockets
        ]
