"""A server on this machine that serves files from memory, and fails in the ways that servers fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Loopback:
    """What is served, how, and what was asked for.

    Args:
        files: contents by path, without the first slash.
        address: of the server.
        cuts: after so many bytes it cuts the connections of the first requests, one number a request.
        headers: further headers of each answer.
        silent: it takes connections, and never answers.
        asked: the path of each request.
    """

    files: dict[str, bytes]
    address: str = ""
    cuts: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    silent: threading.Event | None = None
    asked: list[str] = field(default_factory=list[str])


@contextmanager
def serving(loopback: Loopback) -> Iterator[Loopback]:
    """Serve on a free port of the loopback interface meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            answer(self, loopback)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    loopback.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield loopback
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(request: BaseHTTPRequestHandler, loopback: Loopback) -> None:
    """Serve one request."""
    name = request.path.lstrip("/")
    loopback.asked.append(name)
    if loopback.silent is not None:
        loopback.silent.wait(10)
        return
    content = loopback.files.get(name)
    if content is None:
        request.send_error(404)
        return
    request.send_response(200)
    for key, value in loopback.headers.items():
        request.send_header(key, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    with suppress(ConnectionError):
        request.wfile.write(content[: loopback.cuts.pop(0)] if loopback.cuts else content)
