"""Clients that send as fast as they can."""

from benchmarks.attacks.crowd import Crowd

HEAD = b"POST /run_algorithm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
UNKNOWN_KEY = b"X-API-Key: nobody-s\r\n"
REFUSED_CHUNKED = HEAD + UNKNOWN_KEY + b"Transfer-Encoding: chunked\r\n\r\n"
"""401 where keys are known."""
BYTES = b"1\r\n \r\n" * 1_000
TRAILERS = b"0\r\n" + b"X: y\r\n" * 1_000
N_FLOODERS = 4
GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"


def one_byte_chunks(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, CHUNKED, BYTES)


def one_byte_chunks_after_401(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, REFUSED_CHUNKED, BYTES)


def endless_trailers(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, CHUNKED + b"0\r\n", TRAILERS[3:])


def endless_trailers_after_401(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, REFUSED_CHUNKED + b"0\r\n", TRAILERS[3:])


def endless_extension(crowd: Crowd) -> None:
    """Of a chunk: one line without an end."""
    crowd.flood(N_FLOODERS, CHUNKED + b"1;", b"x" * 65_536)


def endless_headers(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, HEAD, b"X-Some: thing\r\n" * 1_000)


def endless_request_line(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, b"GET /", b"a" * 65_536)


def endless_empty_lines(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, b"", b"\r\n" * 32_768)


def endless_body(crowd: Crowd) -> None:
    """Of 900 GB by its length."""
    crowd.flood(N_FLOODERS, HEAD + b"Content-Length: 900000000000\r\n\r\n", b" " * 65_536)


def pipelined_and_read(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, b"", GET % b"/nowhere" * 200)


def unknown_keys(crowd: Crowd) -> None:
    crowd.flood(N_FLOODERS, b"", b"GET /models HTTP/1.1\r\nHost: localhost\r\n" + UNKNOWN_KEY + b"\r\n")


def connections_opened_and_closed(crowd: Crowd) -> None:
    def attack() -> None:
        for _ in range(50):
            client = crowd.connect(reads=False)
            crowd.close(client)

    crowd.persist(8, attack)


def not_http(crowd: Crowd) -> None:
    """A greeting of TLS, and bytes that mean nothing."""
    crowd.flood(N_FLOODERS, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", bytes(range(256)) * 16)
