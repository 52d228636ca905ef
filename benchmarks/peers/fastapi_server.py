"""uvicorn with the FastAPI peer: `python -m benchmarks.peers.fastapi_server <port> <workers>`.

Not `uvicorn --workers`: the socket that it shares among workers leaves Nagle's algorithm on (44 ms a keep-alive
request), and asyncio lets the first worker accept nearly every connection. Here each worker has a socket of its own.
"""

import os
import socket
import sys

import uvicorn


def main(port: int, workers: int) -> None:
    """Serve in so many processes until SIGTERM, which whoever started them sends to the whole group."""
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    for level, option in (
        (socket.SOL_SOCKET, socket.SO_REUSEADDR),
        (socket.SOL_SOCKET, socket.SO_REUSEPORT),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    ):
        listener.setsockopt(level, option, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config("benchmarks.peers.fastapi_app:app", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
