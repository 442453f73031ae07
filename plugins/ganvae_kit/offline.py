"""Checks download nothing."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ganvae_core.errors import GanvaeError

LOCAL = ("localhost", "127.0.0.1", "::1", "")


class OfflineError(GanvaeError):
    """A name of another machine was looked up."""


@contextmanager
def offline() -> Generator[None]:
    """While this lasts, names of other machines cannot be looked up."""
    resolve = socket.getaddrinfo

    def local(host: Any, *arguments: Any, **options: Any) -> Any:
        if host is not None and (host.decode() if isinstance(host, bytes) else host) not in LOCAL:
            raise OfflineError(
                "it needs the network, and checks have none", "open it once, so that it is in the cache"
            )
        return resolve(host, *arguments, **options)

    socket.getaddrinfo = local
    try:
        yield
    finally:
        socket.getaddrinfo = resolve


def wanted_network(error: BaseException | None) -> bool:
    """Whether an error is, or comes from, a name that was refused here."""
    while error is not None:
        if isinstance(error, OfflineError):
            return True
        error = error.__cause__ or error.__context__
    return False
