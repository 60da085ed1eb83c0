"""A node that says to each connection exactly what a test wrote down."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from services.https.tls import CIPHERS
from tests.support.certificates import Identity

Script = Callable[[ssl.SSLSocket], None]


@contextmanager
def scripted(who: Identity, scripts: Sequence[Script]) -> Iterator[int]:
    """Serve the n-th connection by the n-th script, the last for all that follow; the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHERS)
    context.load_cert_chain(who.certificate, who.private_key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        number = 0
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                script = scripts[min(number, len(scripts) - 1)]
                number += 1
                with suppress(OSError), context.wrap_socket(plain, server_side=True) as line:
                    line.settimeout(20.0)
                    script(line)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


def head(line: ssl.SSLSocket) -> bytes:
    """The head of the next request."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = line.recv(1)
        if not piece:
            raise ConnectionResetError
        got += piece
    return got


def says(content: bytes, length: int | None = None, status: str = "200 OK", fields: str = "") -> Script:
    """Answer one request with so many bytes announced, then hang up."""

    def script(line: ssl.SSLSocket) -> None:
        asked = head(line).lower()
        if b"100-continue" in asked:
            line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"content-length: " in asked:
            left = int(asked.split(b"content-length: ")[1].split(b"\r\n")[0])
            while left > 0:
                left -= len(line.recv(left))
        size = len(content) if length is None else length
        line.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{fields}\r\n".encode() + content)

    return script


def trickles(content: bytes, pause: float) -> Script:
    """Answer byte by byte."""

    def script(line: ssl.SSLSocket) -> None:
        head(line)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for number in range(len(content)):
            line.sendall(content[number : number + 1])
            time.sleep(pause)

    return script


def stalls(line: ssl.SSLSocket) -> None:
    """Say nothing, until the other side hangs up."""
    while line.recv(65536):
        pass
