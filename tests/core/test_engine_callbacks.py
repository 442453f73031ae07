"""When callbacks are told what, and what they are given again when a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Watcher, engine, regression

import ganvae_core as gv
from ganvae_core.engine.checkpoints import read_checkpoint


def test_callbacks_are_told_of_each_interval_once_and_in_order(tmp_path: Path) -> None:
    watcher = Watcher()
    engine(
        regression(), steps=7, log_every=3, samples_every=2, checkpoint_every=4,
        callbacks=[watcher], directory=tmp_path,
    ).fit()  # fmt: skip
    assert watcher.events == [
        ("start", 0),
        ("samples", 2),
        ("step", 3),
        ("samples", 4),
        ("step", 4),  # what is about to be saved is looked at first
        ("checkpoint", 6),  # at the next interval, when it is on disk in any case
        ("step", 6),
        ("samples", 6),
        ("step", 7),
        ("samples", 7),
        ("checkpoint", 7),
        ("end", 7),
    ]


def test_without_a_directory_nothing_is_saved_and_samples_every_0_means_the_end_only() -> None:
    watcher = Watcher()
    engine(regression(), steps=3, log_every=2, samples_every=0, checkpoint_every=1, callbacks=[watcher]).fit()
    assert [event for event in watcher.events if event[0] in ("samples", "checkpoint")] == [("samples", 3)]


def test_a_record_says_where_it_is_and_how_fast() -> None:
    watcher = Watcher()
    engine(regression(), steps=4, log_every=2, callbacks=[watcher]).fit()
    assert [record["step"] for record in watcher.records] == [2, 4]
    assert [record["samples_seen"] for record in watcher.records] == [16, 32]
    for record in watcher.records:
        assert record.keys() == {
            "step", "samples_seen", "samples_per_second",
            "regression/loss", "regression/error", "regression/gradient_norm",
        }  # fmt: skip
        assert record["samples_per_second"] > 0


class Stopper(gv.Callback):
    """Asks for a stop after a step: because it is enough, or as Ctrl-C does."""

    def __init__(self, after: int, interrupted: bool) -> None:
        self.after = after
        self.interrupted = interrupted

    def on_step(self, engine: gv.Engine, record: Mapping[str, Any]) -> None:
        if engine.step_index == self.after:
            engine.stop_requested, engine.interrupted = True, self.interrupted


@pytest.mark.parametrize(
    ("interrupted", "ends"),
    [
        (True, [("step", 3), ("checkpoint", 3), ("end", 3)]),
        (False, [("step", 3), ("samples", 3), ("checkpoint", 3), ("end", 3)]),
    ],
)
def test_a_stop_that_is_asked_for_is_saved_and_a_run_that_had_enough_is_complete(
    interrupted: bool, ends: list[tuple[str, int]], tmp_path: Path
) -> None:
    watcher = Watcher()
    stopper = Stopper(3, interrupted)
    stopped = engine(regression(), steps=9, callbacks=[stopper, watcher], directory=tmp_path).fit()
    assert stopped.step_index == 3
    assert watcher.events[-len(ends) :] == ends
    assert read_checkpoint(tmp_path / "checkpoints" / "step-000003").step == 3
    assert stopped.fit().step_index == 9, "the next fit is not stopped by the last one's end"


def test_an_error_is_told_and_raised_again_and_the_run_does_not_end() -> None:
    class Breaking(gv.Callback):
        def on_step(self, engine: gv.Engine, record: Mapping[str, Any]) -> None:
            raise KeyError("the callback's own")

    watcher = Watcher()
    with pytest.raises(KeyError, match="the callback's own") as raised:
        engine(regression(), callbacks=[watcher, Breaking()]).fit()
    assert watcher.errors == [raised.value]
    assert watcher.events[-1] == ("error", 1)


def test_an_interrupt_is_told_as_an_error() -> None:
    class Interrupting(gv.Callback):
        def on_step(self, engine: gv.Engine, record: Mapping[str, Any]) -> None:
            raise KeyboardInterrupt

    watcher = Watcher()
    with pytest.raises(KeyboardInterrupt):
        engine(regression(), callbacks=[watcher, Interrupting()]).fit()
    assert isinstance(watcher.errors[0], KeyboardInterrupt)


class Counter(gv.Callback):
    """Counts records over all parts of a run."""

    def __init__(self) -> None:
        self.count = 0

    def on_step(self, engine: gv.Engine, record: Mapping[str, Any]) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


def test_callbacks_get_their_state_back_whichever_others_there_are(tmp_path: Path) -> None:
    engine(regression(), steps=3, callbacks=[Watcher(), Counter()], directory=tmp_path).fit()
    counter = Counter()
    going_on = engine(regression(), steps=5)
    going_on.restore(read_checkpoint(tmp_path / "checkpoints" / "step-000003"))
    going_on.callbacks += [counter, Watcher()]  # a run's own callbacks are attached after it was restored
    going_on.fit()
    assert counter.count == 5


def test_what_callbacks_draw_changes_nothing_that_is_trained() -> None:
    class Gambler(gv.Callback):
        def on_step(self, engine: gv.Engine, record: Mapping[str, Any]) -> None:
            torch.rand(7)
            engine.model.sample(3)

    alone, watched = engine(regression()).fit(), engine(regression(), callbacks=[Gambler()]).fit()
    assert torch.equal(
        alone.model.generator.get_parameter("head.weight"),
        watched.model.generator.get_parameter("head.weight"),
    )
