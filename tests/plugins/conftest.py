"""Environments with distributions of their own, forgotten after each test."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_distributions import Environment
from real_environment import RealEnvironment, ganvae_wheel


@pytest.fixture
def new_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Environment]]:
    """Makes environments; each new one comes before the others on the path."""
    monkeypatch.delenv("GANVAE_DISABLE_PLUGINS", raising=False)
    numbers = itertools.count()

    def make() -> Environment:
        folder = tmp_path / f"site-{next(numbers)}"
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        return Environment(folder)

    before = set(sys.modules)
    yield make
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


@pytest.fixture
def environment(new_environment: Callable[[], Environment]) -> Environment:
    return new_environment()


@pytest.fixture(scope="session")
def built_ganvae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    return ganvae_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def real_environment(built_ganvae: Path, tmp_path_factory: pytest.TempPathFactory) -> RealEnvironment:
    """A fresh virtual environment with ganvae in it, which the tests of a file share."""
    return RealEnvironment(tmp_path_factory.mktemp("environment") / "venv", built_ganvae)
