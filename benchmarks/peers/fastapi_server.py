"""uvicorn with the FastAPI peer: `python -m benchmarks.peers.fastapi_server <port> <workers>`.

As `uvicorn --workers`, but with TCP_NODELAY: the socket that uvicorn shares among workers leaves Nagle's algorithm on,
and every keep-alive request then takes 44 ms, which would measure that.
"""

import socket
import sys

import uvicorn
from uvicorn.supervisors import Multiprocess


def main(port: int, workers: int) -> None:
    """Serve until SIGTERM."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", port))
    listener.set_inheritable(True)
    config = uvicorn.Config(
        "benchmarks.peers.fastapi_app:app", workers=workers, access_log=False, log_level="warning", backlog=1_024
    )
    if workers > 1:
        Multiprocess(config, sockets=[listener]).run()
    else:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
