"""Pages in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")


@contextmanager
def quiet(page: Any, *origins: str) -> Iterator[None]:
    """A context in which a page complains of nothing, and asks for nothing but what begins with one of ``origins``."""
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield
    assert complaints == []
    assert [url for url in requests if not url.startswith(origins)] == []
