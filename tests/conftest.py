"""What every test has: one thread, so that numbers are the same everywhere, and an option that renews golden curves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command_line import Outcome, Say

# Before torch is imported: sums depend on how many threads share them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# A job that a shell has put into the background ignores it, and tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the loss curves of tests/golden anew, after a change that is meant to change them",
    )


@pytest.fixture(autouse=True, scope="session")
def undrawn_losses() -> Iterator[None]:
    """``losses.png`` is an empty file but in tests of what is drawn: it takes longer than the runs that it is of."""
    from ganvae_core.runs import observers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observers, "draw_losses", lambda records, path, *_: path.touch())
        yield


@pytest.fixture
def drawn_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """``losses.png`` is drawn."""
    from ganvae_core.runs import observers
    from ganvae_core.views.curves import draw_losses

    monkeypatch.setattr(observers, "draw_losses", draw_losses)


@pytest.fixture
def float64() -> Iterator[None]:
    """The test computes in float64."""
    from toys import in_float64

    with in_float64():
        yield


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command in this process, whatever becomes of it; what it says depends on no clock."""
    from command_line import Outcome

    from ganvae_core.cli import output
    from ganvae_core.cli.main import main

    monkeypatch.setattr(output, "PATIENCE_SECONDS", 3600.0)

    def run(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
