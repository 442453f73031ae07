"""What a person sees where numbers are not finite: above the bar, in a pipe, in the error and afterwards."""

from __future__ import annotations

import logging
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from command_line import Say
from rich.console import Console
from toys import engine, regression

import ganvae_core as gv
from ganvae_core.cli.progress import Progress
from ganvae_core.cli.run_files import last_record
from ganvae_core.store.directory import RunDirectory

DIVERGING = [
    "run", "--plugin", "vae", "optimizers.default.name=sgd", "optimizers.default.lr=1.5", "engine.batch_size=64",
    "generator.hidden=[16]", "encoder.hidden=[16]", "engine.device=cpu", "engine.log_every=2",
    "engine.checkpoint_every=4", "--steps", "14", "--out", "run",
]  # fmt: skip


def test_a_run_that_stopped_says_how_to_go_on(folder: Path, say: Say, done: Say) -> None:
    outcome = say(*DIVERGING)
    assert outcome.code == 1
    error, *hints = outcome.err.splitlines()[-5:]
    assert re.match(
        r"error: step \d+: not finite in phase 'elbo': loss, reconstruction, .*gradient norm;", error
    )
    command = "ganvae run --from run optimizers.default.lr=…"
    assert hints[-1] == f"  a new run goes on from step 4:  {command}"
    went_on = done(*command.replace("…", "0.01").split()[1:], "--out", "further", "--steps", "2")
    assert went_on.out == "further\n"


def test_before_the_first_checkpoint_it_says_what_to_set(folder: Path, say: Say) -> None:
    outcome = say(*(word for word in DIVERGING if word != "engine.checkpoint_every=4"))
    assert outcome.err.splitlines()[-1] == "  or clip gradients:  optimizers.default.clip_norm=…"


@pytest.mark.parametrize("terminal", [True, False])
def test_warnings_stand_above_the_bar_and_in_lines_of_their_own(terminal: bool) -> None:
    class Warning(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Any) -> None:
            if training.step == 2:
                training.warn("something [not markup]", "try  this")

    out, before = StringIO(), len(logging.getLogger("ganvae").handlers)
    console = Console(file=out, force_terminal=terminal, color_system=None, width=60)
    training = engine(regression())
    training.callbacks.extend([Progress(console, "rows", lambda: training.step_index), Warning()])
    training.fit()
    lines = out.getvalue().splitlines()
    (at,) = (number for number, line in enumerate(lines) if "something [not markup]" in line)
    assert lines[at].endswith("warning: something [not markup]")
    assert lines[at + 1].rstrip() == "  try  this"
    assert any("4/4" in line for line in lines[at:])  # in a bar or, where there is none, a last line
    assert len(logging.getLogger("ganvae").handlers) == before, "the handler is taken off at the end"


def test_what_was_logged_last_is_the_last_interval(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "")
    run.append_metrics({"step": 4, "samples_seen": 32, "elbo/loss": 1.0, "samples_per_second": 9.0})
    run.append_metrics({"step": 4, "samples_seen": 32, "warnings": ["late"]})
    assert last_record(run)["elbo/loss"] == 1.0
