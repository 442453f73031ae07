"""When callbacks are told what, and what they are given again when a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import FromPhases, Watcher, engine, model, only_stage, regression, squared_error

import ganvae_core as gv
from ganvae_core.builtin.early_stopping import EarlyStopping
from ganvae_core.plugins import installed_plugins
from ganvae_core.store.checkpoints import read_checkpoint


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
            "step", "samples_seen", "samples_per_second", "seconds", "peak_megabytes",
            "regression/loss", "regression/error", "regression/gradient_norm",
        }  # fmt: skip
        assert record["samples_per_second"] == pytest.approx(16 / record["seconds"])
        assert 50 < record["peak_megabytes"] < 100_000


class Stopper(gv.Callback):
    """Asks for a stop after a step: because it is enough, or as Ctrl-C does."""

    def __init__(self, after: int, interrupted: bool) -> None:
        self.after = after
        self.interrupted = interrupted

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if training.step == self.after:
            if self.interrupted:
                training.interrupt()
            else:
                training.stop("that is enough")


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
        def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
            raise KeyError("the callback's own")

    watcher = Watcher()
    with pytest.raises(gv.TrainingError, match="the callback's own") as raised:
        engine(regression(), callbacks=[watcher, Breaking()]).fit()
    assert watcher.errors == [raised.value]
    assert isinstance(raised.value.__cause__, KeyError)
    assert watcher.events[-1] == ("error", 1)


def test_an_interrupt_is_told_as_an_error() -> None:
    class Interrupting(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
            raise KeyboardInterrupt

    watcher = Watcher()
    with pytest.raises(KeyboardInterrupt):
        engine(regression(), callbacks=[watcher, Interrupting()]).fit()
    assert isinstance(watcher.errors[0], KeyboardInterrupt)


class Counter(gv.Callback):
    """Counts records over all parts of a run."""

    def __init__(self) -> None:
        self.count = 0

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
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
    going_on.callbacks.extend(
        [counter, Watcher()]
    )  # a run's own callbacks are attached after it was restored
    going_on.fit()
    assert counter.count == 5


def test_what_callbacks_draw_changes_nothing_that_is_trained() -> None:
    class Gambler(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
            torch.rand(7)
            training.model.sample(3)

    alone, watched = engine(regression()).fit(), engine(regression(), callbacks=[Gambler()]).fit()
    assert torch.equal(
        alone.model.generator.get_parameter("head.weight"),
        watched.model.generator.get_parameter("head.weight"),
    )


class Failing(gv.Callback):
    """Fails in one of its methods."""

    def __init__(self, where: str) -> None:
        setattr(self, where, self.fail)

    def fail(self, *arguments: Any) -> Any:
        raise ValueError("the disk is upside down")


class Measured(gv.Metric):
    figures = (gv.Figure("rows", "rows"),)

    def measure(self, subject: gv.Subject) -> dict[str, float]:
        return {"rows": float(sum(len(batch.x) for batch in subject.held_out()))}


HOOKS = ["on_start", "on_step", "on_samples", "on_results", "on_checkpoint", "on_end", "state_dict"]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_that_fails_is_named_with_its_method_and_ends_the_run(hook: str, tmp_path: Path) -> None:
    made = engine(
        regression(),
        steps=3,
        checkpoint_every=2,
        metrics=[Measured()],
        callbacks=[Failing(hook)],
        directory=tmp_path,
    )
    with pytest.raises(
        gv.TrainingError, match=f"the callback Failing failed in {hook}: ValueError: the disk"
    ):
        made.fit()


def test_a_state_that_json_cannot_hold_is_the_callbacks_failure(tmp_path: Path) -> None:
    failing = Failing("on_error")
    failing.state_dict = lambda: {"weights": torch.zeros(2)}  # type: ignore[method-assign]
    with pytest.raises(gv.TrainingError, match=r"Failing failed in state_dict: TypeError"):
        engine(regression(), steps=2, callbacks=[failing], directory=tmp_path).fit()


def test_an_error_of_training_is_not_hidden_by_a_callback_that_fails_to_hear_of_it() -> None:
    class Breaking(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
            raise gv.TrainingError("it was this")

    with pytest.raises(gv.TrainingError, match="it was this"):
        engine(regression(), callbacks=[Breaking(), Failing("on_error")]).fit()


class OfThePrior(gv.Metric):
    """A metric that samples."""

    needs = frozenset({"prior"})
    figures = (gv.Figure("size", "size", better="lower"),)

    def measure(self, subject: gv.Subject) -> dict[str, float]:
        return {"size": float(torch.cat([batch.x for batch in subject.samples(4)]).abs().mean())}


def fitted_later() -> gv.Model:
    """A model whose prior is fitted when training ends."""
    own = model()
    own.prior = installed_plugins().load(
        installed_plugins().component("prior", "gaussian-mixture")[1]
    )([2], components=2)  # fmt: skip
    return own


def test_a_metric_that_samples_waits_for_a_prior_that_is_fitted_after_training(tmp_path: Path) -> None:
    made = engine(
        FromPhases(fitted_later(), lambda own: [gv.Phase("a", squared_error(own), trains=[own.model])]),
        checkpoint_every=2,
        metrics=[OfThePrior(), Measured()],
        directory=tmp_path,
    )
    only_stage(made).fit()
    first, last = (read_checkpoint(tmp_path / "checkpoints" / f"step-{step:06d}").manifest for step in (2, 4))
    assert set(first["results"]) == {"rows"}
    assert first["judged_by"] is None  # the best is not chosen by another metric meanwhile
    assert set(last["results"]) == {"rows", "size"}
    assert list(made.results) == ["size", "rows"]
    assert last["judged_by"] == "size"


def test_early_stopping_does_not_watch_what_waits_for_the_prior() -> None:
    made = engine(
        FromPhases(fitted_later(), lambda own: [gv.Phase("a", squared_error(own), trains=[own.model])]),
        metrics=[OfThePrior()],
        callbacks=[EarlyStopping()],
    )
    with pytest.raises(gv.ConfigurationError, match="measured only after training"):
        made.fit()


class Endless(gv.FittedPrior):
    """A prior whose fit ends only when it is interrupted."""

    support = "real"

    def __init__(self, interrupt: Callable[[], None]) -> None:
        super().__init__()
        self.interrupt = interrupt

    @property
    def fitted(self) -> bool:
        return False

    def fit(self, codes: Any, condition: Any = None) -> None:
        while True:
            self.interrupt()

    def sample(self, count: int, condition: Any = None) -> Any:
        raise gv.NotFittedError("not fitted")

    def log_prob(self, z: Any, condition: Any = None) -> Any:
        raise gv.NotFittedError("not fitted")


def test_an_interrupt_ends_the_fit_of_a_prior_and_what_was_trained_is_saved(tmp_path: Path) -> None:
    class Autoencoder(gv.Objective):
        needs = frozenset({"encoder"})

        def __init__(self) -> None:
            super().__init__()
            self.model = model(posterior="dirac")
            self.model.prior = Endless(lambda: stages.interrupt())

        def phases(self) -> list[gv.Phase]:
            return [gv.Phase("all", self.loss, trains=[self.model])]

        def loss(self, batch: gv.Batch) -> gv.Loss:
            return gv.Loss((self.model.reconstruct(batch.x) - batch.x).square().mean())

    stages = only_stage(engine(Autoencoder(), steps=3, directory=tmp_path))
    with pytest.raises(KeyboardInterrupt):
        stages.fit()
    saved = read_checkpoint(tmp_path / "checkpoints" / "step-000003")
    assert (saved.ended, saved.complete) == (True, False)
