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
from ganvae_compare import jobs, sweep_verb, sweeping
from ganvae_compare.plan import ganvae
from ganvae_compare.sweeping import run_trials
from own_files import make_own_files
from reader import Reader

from ganvae_core.cli.launcher import launch
from ganvae_core.engine.loop import Engine
from ganvae_core.plugins import installed_plugins

STEPS = 3


def quick(words: Sequence[str]) -> list[str]:
    """The command of a process that ``compare`` starts, with two steps or one metric."""
    if words[0] == "run":
        kept = list(words)
        if "--steps" in kept:
            del kept[kept.index("--steps") : kept.index("--steps") + 2]
        return ganvae([*kept, "--steps", "2"])
    return ganvae([*words, *([] if "--metrics" in words else ["--metrics", "kernel"])])


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


def short_launch(arguments: Sequence[str], processes: int) -> int:
    """``launch``, for which the same holds in the processes that it starts."""
    words = list(arguments)
    while "--steps" in words:
        del words[words.index("--steps") : words.index("--steps") + 2]
    return launch([*words, "--steps", str(STEPS)], processes)


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Engine, "fit", shortened(Engine.fit))
    monkeypatch.setattr(jobs, "ganvae", quick)
    monkeypatch.setattr(sweeping, "run_trials", few_trials)
    monkeypatch.setattr(
        sweep_verb, "_join", lambda sweep, number: subprocess.Popen([sys.executable, "-c", ""])
    )
    monkeypatch.setattr("ganvae_core.cli.launcher.launch", short_launch)
    make_own_files(tmp_path)
    before = set(sys.modules)
    yield Reader(tmp_path, capsys, monkeypatch)
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
    installed_plugins.cache_clear()
