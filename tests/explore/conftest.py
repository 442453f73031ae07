"""The command line, called in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from command_line import Outcome, Say

from ganvae_core.cli import output
from ganvae_core.cli.main import main


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run a command, whatever becomes of it; what it says depends on no clock."""
    monkeypatch.setattr(output, "PATIENCE_SECONDS", 3600.0)

    def run(*arguments: object) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
