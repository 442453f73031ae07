"""Reading a page: a folder with the reader's own files in it, and trainings that are short.

The pages say what a person would type, which trains for minutes. What is tested is that it works.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, at_once
from ganvae_compare import jobs, sweep_verb, sweeping
from ganvae_compare.sweeping import run_trials
from ganvae_dcgan.networks import _widths as widths
from ganvae_kit import checks
from ganvae_kit.checks import Check, Outcome, Subject
from own_files import make_own_files
from reader import Reader
from sklearn.manifold import TSNE

from ganvae_core.cli.main import main
from ganvae_core.engine.loop import Engine
from ganvae_core.plugins import installed_plugins

STEPS = 2


def with_one_metric(worker: jobs.Worker, words: list[str], output: int) -> Ended:
    """``Worker._start`` without a new process, and with one metric."""
    metrics = [] if words[0] == "run" or "--metrics" in words else ["--metrics", "kernel"]
    return at_once(worker, [*words, *metrics], output)


def few_trials(sweep: sweeping.Sweep, say: Any) -> None:
    """``run_trials`` for two trials more."""
    ended = sum(trial.state.is_finished() for trial in sweeping.study_of(sweep).get_trials())
    run_trials(replace(sweep, trials=min(sweep.trials, ended + 2)), say)


def shortened(fit: Callable[..., Any]) -> Callable[..., Any]:
    """``Engine.fit`` that does at most ``STEPS`` steps, and takes them for all that there are."""

    @functools.wraps(fit)
    def short_fit(engine: Engine, steps: int | None = None, **further: Any) -> Any:
        asked = engine.settings.steps if steps is None else steps
        few = (
            asked - engine.step_index <= 20
        )  # as the checks of the kit, which run in this process, count them
        return fit(engine, asked if few else engine.step_index + STEPS, **further)

    return short_fit


def few_filters(filters: int, stages: int) -> list[int]:
    """``_widths`` of dcgan's networks, which are narrow whatever their recipe says."""
    return widths(min(filters, 8), stages)


def once(held: Callable[[Check, Subject], Outcome]) -> Callable[[Check, Subject], Outcome]:
    """A check of the kit that is done once on a page, which names the same plugin for a command and for functions."""
    outcomes: dict[tuple[str, str], Outcome] = {}

    def remembered(check: Check, subject: Subject) -> Outcome:
        key = (check.name, subject.label)
        if key not in outcomes:
            outcomes[key] = held(check, subject)
        return outcomes[key]

    return remembered


def launch_one(arguments: Sequence[str], processes: int) -> int:
    """``launch`` of one process, which is this one."""
    words = list(arguments)
    del words[words.index("--processes") : words.index("--processes") + 2]
    return main(words)


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Engine, "fit", shortened(Engine.fit))
    monkeypatch.setattr(jobs.Worker, "_start", with_one_metric)
    monkeypatch.setattr(sweeping, "run_trials", few_trials)
    monkeypatch.setattr(
        sweep_verb, "_join", lambda sweep, number: subprocess.Popen([sys.executable, "-c", ""])
    )
    monkeypatch.setattr("ganvae_core.cli.launcher.launch", launch_one)
    monkeypatch.setattr("ganvae_dcgan.networks._widths", few_filters)
    monkeypatch.setattr("sklearn.manifold.TSNE", functools.partial(TSNE, max_iter=250))
    monkeypatch.setattr(checks, "_held", once(checks._held))  # pyright: ignore[reportPrivateUsage]
    make_own_files(tmp_path)
    before = set(sys.modules)
    yield Reader(tmp_path, capsys, monkeypatch)
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
    installed_plugins.cache_clear()
