"""A reader of the output that goes away, such as ``head -1``, ends no command and no run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from command_line import VAE

from ganvae_core.cli.main import main


@pytest.fixture
def left() -> Iterator[TextIO]:
    """A pipe whose reader has gone away."""
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    yield stream
    stream.close()  # what could not be written is not tried again


@pytest.mark.parametrize("names", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_a_run_goes_on_without_its_reader(
    names: tuple[str, ...], left: TextIO, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names:
        monkeypatch.setattr(sys, name, left)
    assert main([*VAE, "--out", "r"]) == 0
    assert (folder / "r" / "checkpoints" / "step-000002").is_dir()


def test_a_listing_whose_reader_has_enough_is_no_error(
    left: TextIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", left)
    assert main(["components"]) == 0
    assert capsys.readouterr().err == ""


def test_output_that_was_closed_before_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["components"]) == 0
