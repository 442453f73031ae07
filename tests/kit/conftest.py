"""What the tests of the kit share: projects on ``sys.path`` that are removed after each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def projects_removed() -> Iterator[None]:
    """Whatever is imported and put on the path is gone afterwards."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("ganvae_specimen", "ganvae_mutant"):
            del sys.modules[name]
