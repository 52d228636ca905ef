"""Plain sockets to a service, for requests that no HTTP library sends."""

import socket
from urllib.parse import urlsplit

from tests.conftest import LiveService
from tests.waiting import HANG_S


def connected(service: LiveService) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port), timeout=HANG_S)


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes or resets the connection."""
    received = b""
    try:
        while piece := client.recv(65_536):
            received += piece
    except TimeoutError:
        raise
    except OSError:  # closed before everything was read
        pass
    return received
