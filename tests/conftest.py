"""What every test has: one thread, so that numbers are the same everywhere, and an option that renews golden curves."""

from __future__ import annotations

import os

import pytest

# Before torch is imported: sums depend on how many threads share them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the loss curves of tests/golden anew, after a change that is meant to change them",
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
