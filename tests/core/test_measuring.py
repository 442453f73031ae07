"""Held-out rows while a run trains: measured at intervals, warned of, the best kept; threads and time that are left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from toys import engine, regression, same, state

import ganvae_core as gv
from ganvae_core.cli import progress
from ganvae_core.cli.progress import duration
from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import nest
from ganvae_core.engine.measuring import steps_between
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.preparation import prepare
from ganvae_core.runs.resuming import prepare_resume
from ganvae_core.runs.threads import chosen_threads, compared, remembered_threads
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.manifests import best_step, manifests_in, preferred
from ganvae_core.types import HELD_OUT


class Scripted(gv.Metric):
    """Results that are given, one for each measurement."""

    figures = (gv.Figure("score", "score", "nats"),)

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def measure(self, subject: gv.Subject) -> dict[str, float]:
        return {"score": self.values.pop(0) if len(self.values) > 1 else self.values[0]}


class Log(gv.Callback):
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        self.records.append(dict(record))


def test_the_time_left_follows_the_last_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    out = StringIO()
    shown = progress.Progress(Console(file=out), "rows", lambda: 0)
    training: Any = SimpleNamespace(
        step=0, target_steps=1_100, objective=regression(),
        settings=SimpleNamespace(batch_size=10), data=SimpleNamespace(training=range(100)),
    )  # fmt: skip
    shown.on_start(training)
    for number, seconds_a_step in enumerate([0.1, 0.3, *[0.1] * 10], 1):  # one interval of a measurement
        shown.on_step(training, {"step": 10 * number, "samples_per_second": 10 / seconds_a_step})
    shown.on_end(training)
    left = [line.split(" · ")[2].removesuffix(" left") for line in out.getvalue().splitlines()]
    assert left[:3] == ["2 min", "4 min", "3 min"]  # 109 s, 216 s, 178 s
    assert left[-2:] == ["2 min", "2 min"]  # the slow one is among the last ten, and is not


@pytest.mark.parametrize(
    ("settings", "held_out", "batch_size", "every"),
    [({}, 180, 128, 50), ({}, 10_000, 128, 100), ({"log_every": 7}, 10_000, 512, 21), ({"evaluate_every": 3}, 9, 8, 3),
     ({}, 0, 128, None)],
)  # fmt: skip
def test_the_interval_follows_from_the_numbers_of_rows(
    settings: dict[str, Any], held_out: int, batch_size: int, every: int | None
) -> None:
    assert steps_between(gv.EngineSettings(**settings), [Scripted(0.0)], held_out, batch_size) == every


def test_a_run_that_gets_worse_says_so_once_while_it_trains_and_at_its_end_and_keeps_its_best(
    tmp_path: Path,
) -> None:
    log = Log()
    made = engine(regression(), steps=8, evaluate_every=1, checkpoint_every=100, callbacks=[log],
                  metrics=[Scripted(-3.0, -2.0, -2.09, -2.2, -2.3, -2.4, -2.5, -2.6, -2.6)])  # fmt: skip
    made.attach(gv.CheckpointWriter(tmp_path), [])  # as a run gives it, after the engine is made
    made.fit()
    measured = {each["step"]: each[HELD_OUT + "score"] for each in log.records if HELD_OUT + "score" in each}
    assert measured == {1: -3.0, 2: -2.0, 3: -2.09, 4: -2.2, 5: -2.3, 6: -2.4, 7: -2.5, 8: -2.6}
    warned = {each["step"]: each["warnings"] for each in log.records if "warnings" in each}
    assert list(warned) == [5, 8]  # at the second measurement that is much worse, and at the end
    assert "score −2.3 nats, and −2 nats at step 2" in warned[5][0]
    assert "Ctrl-C ends the run, and its best checkpoint is kept" in warned[5][0]
    assert "score −2.6 nats, and −2 nats at step 2" in warned[8][0]
    assert f"ganvae sample {tmp_path} --checkpoint best" in warned[8][0]
    short = Log()
    engine(
        regression(), steps=3, evaluate_every=1, callbacks=[short], metrics=[Scripted(-2, -3, -3, -3)]
    ).fit()
    (text,) = [text for each in short.records for text in each.get("warnings", [])]  # at the end alone
    assert "checkpoint" not in text  # there is none
    manifests = manifests_in(tmp_path / "checkpoints")
    assert best_step(manifests) == 2
    found = preferred(manifests)
    assert found is not None
    assert (found[0], found[2], found[3]) == (2, -2.0, -2.6)


def test_the_best_checkpoint_is_one_that_training_can_go_on_from(tmp_path: Path) -> None:
    scores = (1.0, 3.0, 2.99, 2.98, 2.97)
    whole = engine(regression(), steps=5, evaluate_every=1, metrics=[Scripted(*scores)], directory=tmp_path)
    whole.fit()
    best = read_checkpoint(tmp_path / "checkpoints" / "step-000002")
    assert preferred(manifests_in(tmp_path / "checkpoints")) is None  # the last is about as good
    again = engine(regression(), steps=5, evaluate_every=1, metrics=[Scripted(*scores[2:])])
    again.restore(best)
    again.fit()
    assert same(state(again.objective), state(whole.objective))
    assert (again.state.best, again.results) == (whole.state.best, whole.results)


def test_few_rows_end_a_recipes_steps_and_not_those_that_are_given() -> None:
    limited = gv.EngineSettings(steps=3000, most_epochs=400)
    assert (limited.for_rows(160).steps, limited.for_rows(1617).steps) == (500, 3000)
    small = {"generator.hidden": [4], "encoder.hidden": [4], "engine.device": "cpu"}
    rows = [[0.0, 1.0], [1.0, 0.5], [0.5, 0.0], [0.2, 0.9]]
    for steps, expected in ((None, (400, 400)), (7, (7, None))):
        layer = small | ({} if steps is None else {"engine.steps": steps}) | {"data.held_out": 0.0}
        configuration = configure(installed_plugins(), "vae", None, [nest(list(layer.items()))])
        made = prepare(configuration, installed_plugins(), gv.as_source(np.array(rows, np.float32)))
        assert (made.configuration.engine.steps, made.configuration.engine.most_epochs) == expected


def test_threads_take_turns_and_a_resumed_run_takes_as_many_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns: list[tuple[str, int]] = []
    monkeypatch.setattr("ganvae_core.runs.threads.TRIAL_SECONDS", 0.001)

    def turn(name: str, seconds: float) -> Any:
        def make(steps: int) -> float:
            turns.append((name, steps))
            return seconds * steps

        return make

    seconds, share = compared(turn("one", 0.02), turn("all", 0.03))
    assert seconds == pytest.approx((0.02, 0.03))
    assert share == pytest.approx(1.5)
    taken = [name for name, _ in turns[3:]]  # after the warm-up; either meets the same neighbours
    assert taken[:4] == ["one", "all", "all", "one"]
    assert taken.count("one") == taken.count("all")
    assert {steps for _, steps in turns[3:]} == {2}
    assert remembered_threads(gv.EngineSettings(), {"runtime": {"threads": 3}}) == 3
    assert remembered_threads(gv.EngineSettings(threads=1), {"runtime": {"threads": 3}}) == 1
    assert remembered_threads(gv.EngineSettings(), {}) is None
    with pytest.raises(gv.ConfigurationError, match=r"engine\.threads"):
        gv.EngineSettings(threads=0)


def test_threads_are_tried_on_what_the_run_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("ganvae_core.runs.threads.compared", lambda one, every: ((one(1), every(1)), 1.0))
    small = {"generator.hidden": [4], "encoder.hidden": [4], "engine.device": "cpu", "engine.steps": 500,
             "prior": "latent-flow", "objective": "prior-likelihood", "train": ["prior"]}  # fmt: skip
    configuration = configure(installed_plugins(), "vae", None, [nest(list(small.items()))])
    made = prepare(configuration, installed_plugins(), gv.as_source(np.eye(20, dtype=np.float32)))
    count, why = chosen_threads(made)
    assert count in (1, 2)
    assert "of 2 threads" in str(why)


def test_a_checkpoint_of_two_threads_is_resumed_with_two(tmp_path: Path) -> None:
    settings = {"generator.hidden": [4], "encoder.hidden": [4], "engine.device": "cpu", "engine.threads": 2,
                "engine.checkpoint_every": 2, "engine.samples_every": 0}  # fmt: skip
    before = torch.get_num_threads()
    run = gv.train("vae", steps=2, out=tmp_path / "run", overrides=settings)
    assert torch.get_num_threads() == before
    manifest = json.loads((run.path / "checkpoints" / "step-000002" / "manifest.json").read_text())
    assert manifest["runtime"]["threads"] == 2
    _, preparation = prepare_resume(run.path, layer={"engine": {"steps": 4, "threads": "auto"}})
    assert preparation.stages.threads == 2
    assert preparation.warnings == ()


def test_durations_in_words() -> None:
    assert [duration(each) for each in (0.2, 40, 720, 4980)] == ["1 s", "40 s", "12 min", "83 min"]
    assert duration(6000) == "1 h 40 min"
