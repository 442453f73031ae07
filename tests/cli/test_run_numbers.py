"""What a person sees where numbers are not finite: above the bar, in a pipe, in the error and afterwards."""

from __future__ import annotations

import json
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


def test_a_run_that_dropped_updates_says_so_while_it_trains_and_afterwards(folder: Path, done: Say) -> None:
    outcome = done(*DIVERGING, "engine.on_nonfinite=skip")
    said = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    # In which step it happens first depends on how a processor rounds.
    first = (
        r"warning: step \d+: \d of the last 2 updates of phase 'elbo' (was|were) dropped, not finite: loss, "
    )
    assert re.match(first, said[0])
    shown = done("show", "run").out
    assert re.search(r"warned +step \d+: \d of the last 2 updates", shown)
    assert f"and {len(said) - 1} earlier, in run/metrics.jsonl" in shown


def test_a_run_that_stopped_says_how_to_go_on(folder: Path, say: Say, done: Say) -> None:
    outcome = say(*DIVERGING)
    assert outcome.code == 1
    error, *hints = outcome.err.splitlines()[-4:]
    assert re.match(
        r"error: step \d+: not finite in phase 'elbo': loss, reconstruction, .*gradient norm;", error
    )
    command = "ganvae run --resume run engine.on_nonfinite=skip"
    assert hints[-1] == f"  or go on from step 4 without such updates:  {command}"
    went_on = done(*command.split()[1:])
    assert "from step 4" in went_on.err
    assert "dropped, not finite" in went_on.err


def test_before_the_first_checkpoint_it_says_what_to_set(folder: Path, say: Say) -> None:
    outcome = say(*(word for word in DIVERGING if word != "engine.checkpoint_every=4"))
    assert outcome.err.splitlines()[-1] == "  or leave such updates out:  engine.on_nonfinite=skip"


def test_quiet_says_nothing_and_the_log_has_it(folder: Path, done: Say) -> None:
    outcome = done(*DIVERGING, "engine.on_nonfinite=skip", "--quiet")
    assert outcome.err == ""
    assert any("warnings" in json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines())


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
