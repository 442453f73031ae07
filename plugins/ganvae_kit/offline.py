"""Checks download nothing."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ganvae_core.errors import GanvaeError

LOCAL = ("localhost", "127.0.0.1", "::1", "")


class OfflineError(GanvaeError):
    """Something wanted to reach another machine."""


@contextmanager
def offline() -> Generator[None]:
    """While this lasts, connections to other machines are refused."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def local_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise _refusal()
        connect(self, address)

    def local_resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if host is not None and (host.decode() if isinstance(host, bytes) else host) not in LOCAL:
            raise _refusal()
        return resolve(host, *arguments, **options)

    socket.socket.connect, socket.getaddrinfo = local_connect, local_resolve
    try:
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo = connect, resolve


def _refusal() -> OfflineError:
    return OfflineError(
        "it needs the network, and checks have none", "open it once, so that it is in the cache"
    )


def wanted_network(error: BaseException | None) -> bool:
    """Whether an error is, or comes from, a connection that was refused here."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OfflineError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
