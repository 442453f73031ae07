"""``engine.on_nonfinite=rollback``: back to the last checkpoint, with smaller learning rates, five times at most."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import FromPhases, Watcher, engine, model, same, squared_error, state

import ganvae_core as gv
from ganvae_core.store.checkpoints import list_checkpoints, read_checkpoint

RATE = 0.125


class Height(nn.Module):
    """One weight that plain descent raises by the learning rate with each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


def climbing(limit: float = torch.inf) -> FromPhases:
    """A weight that climbs, whose loss is not finite beyond a limit, beside a network with batch norm and noise."""

    def phases(objective: Any) -> list[gv.Phase]:
        def climb(batch: gv.Batch) -> gv.Loss:
            height = objective.height.weight
            beyond = torch.where(height.detach() > limit, torch.nan, 1.0)
            return gv.Loss(-height * beyond)

        def noisy(batch: gv.Batch) -> gv.Loss:
            loss = squared_error(objective)(batch).value
            return gv.Loss(loss * (1 + torch.rand(())))

        return [
            gv.Phase("noisy", noisy, trains=[objective.model]),
            gv.Phase("climb", climb, trains=[objective.height]),
        ]

    torch.manual_seed(0)
    return FromPhases(model(encoder=False, batch_norm=True), phases, height=Height())


def rolling(objective: FromPhases, schedule: Any = "linear", **changes: Any) -> gv.Engine:
    """Checkpoints at 0, 4, 8 …; the network's optimizer has state, and that of the weight that climbs has none."""
    optimizers = {
        "noisy": gv.OptimizerSettings(name="adam", lr=0.01, schedule=schedule),
        "climb": gv.OptimizerSettings(name="sgd", lr=RATE),
    }
    chosen = {"steps": 12, "checkpoint_every": 4, "log_every": 3, "on_nonfinite": "rollback", **changes}
    return engine(objective, optimizers=optimizers, **chosen)


def height(trained: gv.Engine) -> float:
    return trained.objective.get_parameter("height.weight").item()


@pytest.fixture(params=["on disk", "in memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where the state to go back to is kept."""
    return {"directory": tmp_path} if request.param == "on disk" else {}


@pytest.mark.parametrize("log_every", [1, 3, 50])
def test_training_goes_on_from_the_last_checkpoint_with_half_the_learning_rate(
    log_every: int, place: dict[str, Any]
) -> None:
    # 0.5 at step 4, and 0.75 at step 6, beyond the limit; with half the rate 0.6875 at step 7.
    once = rolling(climbing(0.7), steps=8, log_every=log_every, **place).fit()
    assert (once.step_index, once.recovery.rollbacks, once.recovery.learning_rate_factor) == (8, 1, 0.5)
    assert height(once) == 4 * RATE + 4 * RATE / 2


def test_each_time_the_learning_rate_is_halved_again(place: dict[str, Any]) -> None:
    twice = rolling(climbing(0.65), steps=8, **place).fit()
    assert (twice.recovery.rollbacks, twice.recovery.learning_rate_factor) == (2, 0.25)
    assert height(twice) == 4 * RATE + 4 * RATE / 4


def test_before_the_first_checkpoint_training_goes_back_to_the_start(place: dict[str, Any]) -> None:
    begun = rolling(climbing(0.3), steps=4, **place).fit()
    assert begun.recovery.rollbacks == 1
    assert height(begun) == 4 * RATE / 2


def test_it_equals_a_run_that_was_taken_up_by_hand_at_the_checkpoint_with_half_the_rates(
    place: dict[str, Any], tmp_path: Path
) -> None:
    """Weights, statistics of batch norm, moments of Adam, the average, the noise and the falling learning rate."""
    rolled = rolling(climbing(0.7), steps=8, **place).fit()

    rolling(climbing(), steps=8, checkpoint_every=4, keep_checkpoints=9, directory=tmp_path / "hand").fit()
    halves = {
        "noisy": gv.OptimizerSettings(name="adam", lr=0.005, schedule="linear"),
        "climb": gv.OptimizerSettings(name="sgd", lr=RATE / 2),
    }
    by_hand = engine(climbing(), optimizers=halves, steps=8)
    by_hand.restore(read_checkpoint(tmp_path / "hand" / "checkpoints" / "step-000004"))
    by_hand.fit()
    assert same(state(rolled.objective), state(by_hand.objective))
    assert same(state(rolled.model), state(by_hand.model))


def test_it_is_said_and_the_next_record_says_which_records_are_undone(
    place: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher()
    rolling(climbing(0.65), steps=8, log_every=1, callbacks=[watcher], **place).fit()
    assert [record["step"] for record in watcher.records] == [1, 2, 3, 4, 5, 6, 5, 6, 7, 5, 6, 7, 8]
    returned = [record for record in watcher.records if "returned_to" in record]
    assert [(record["step"], record["returned_to"]) for record in returned] == [(5, 4), (5, 4)]
    texts = [
        "step 7: not finite in phase 'climb': loss, gradient norm; back to step 4 with half the learning rate"
        " (1 of 5 times)",
        "step 8: not finite in phase 'climb': loss, gradient norm; back to step 4 with 1/4 of the learning rate"
        " (2 of 5 times)",
    ]
    assert [record["warnings"] for record in returned] == [[text] for text in texts]
    assert [record.message for record in caplog.records] == texts
    assert all(record["samples_per_second"] > 0 for record in watcher.records)


def test_after_five_times_training_stops_and_the_checkpoint_is_whole(tmp_path: Path) -> None:
    objective = climbing(0.5)  # at step 5 of any rate
    training = rolling(objective, directory=tmp_path)
    with pytest.raises(
        gv.TrainingError, match=r"step 6: not finite in phase 'climb'.* gone back 5 times"
    ) as raised:
        training.fit()
    assert "1/32 of the learning rate" in raised.value.message
    assert read_checkpoint(tmp_path / "checkpoints" / "step-000004").manifest["recovery"]["rollbacks"] == 0
    assert all(value.isfinite().all() for value in state(objective).values())


def test_callbacks_forget_what_was_undone(place: dict[str, Any]) -> None:
    class Counter(gv.Callback):
        steps = 0

        def on_step(self, engine: gv.Engine, record: Mapping[str, Any]) -> None:
            self.steps += 1

        def state_dict(self) -> dict[str, Any]:
            return {"steps": self.steps}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            self.steps = state["steps"]

    counter = Counter()
    rolling(climbing(0.65), steps=8, log_every=1, callbacks=[counter], **place).fit()
    assert counter.steps == 8


def test_a_damaged_checkpoint_is_passed_over_and_warned_of(tmp_path: Path) -> None:
    newest = tmp_path / "checkpoints" / "step-000004" / "state.safetensors"

    class Damage(gv.Callback):
        def on_step(self, engine: gv.Engine, record: Mapping[str, Any]) -> None:
            if engine.step_index == 5 and not engine.recovery.rollbacks:
                newest.write_bytes(newest.read_bytes()[:-1])

    watcher = Watcher()
    training = rolling(
        climbing(0.7),
        steps=8,
        log_every=1,
        keep_checkpoints=9,
        directory=tmp_path,
        callbacks=[Damage(), watcher],
    ).fit()
    assert (training.step_index, training.recovery.rollbacks) == (8, 1)
    assert height(training) == 8 * RATE / 2, "from step 0"
    (warnings,) = [record["warnings"] for record in watcher.records if "warnings" in record]
    assert warnings[0].startswith(f"passed over: {newest} is not what was written")
    assert "back to step 0 with half the learning rate" in warnings[1]


def test_the_checkpoint_to_go_back_to_stays_beside_newer_ones_that_were_not_due(tmp_path: Path) -> None:
    training = rolling(climbing(), keep_checkpoints=1, directory=tmp_path)
    for steps, kept in [(2, [0, 2]), (3, [0, 3]), (4, [4]), (6, [4, 6]), (8, [8])]:
        training.fit(steps)
        folders = list_checkpoints(tmp_path / "checkpoints")
        assert [int(folder.name[5:]) for folder in folders] == kept


def test_a_fit_in_parts_goes_back_to_where_one_in_a_piece_does(place: dict[str, Any]) -> None:
    whole = rolling(climbing(0.65), "constant", steps=8).fit()
    parts = rolling(climbing(0.65), "constant", steps=8, **place)
    for steps in (1, 5, 6, 7, 8):
        parts.fit(steps)
    assert parts.recovery == whole.recovery
    assert same(state(parts.objective), state(whole.objective))
    assert same(state(parts.model), state(whole.model))


@pytest.mark.parametrize("limit", [0.3, 0.65])
@pytest.mark.parametrize("first", [1, 3, 4, 5, 6, 7])
def test_a_run_that_is_stopped_and_resumed_equals_one_that_is_not(
    first: int, limit: float, tmp_path: Path
) -> None:
    """Whether it is stopped before it goes back, after that, or at a checkpoint that was due."""

    class Stop(gv.Callback):
        def on_step(self, engine: gv.Engine, record: Mapping[str, Any]) -> None:
            if engine.recovery.rollbacks == 1 and engine.step_index == first:
                engine.stop_requested = engine.interrupted = True

    def begin(**changes: Any) -> gv.Engine:
        changes = {"steps": 8, "log_every": 1, "keep_checkpoints": 1, **changes}
        return rolling(climbing(limit), directory=tmp_path / "run", **changes)

    whole = rolling(climbing(limit), steps=8, directory=tmp_path / "whole").fit()
    stopped = begin(callbacks=[Stop()]).fit()
    folders = list_checkpoints(tmp_path / "run" / "checkpoints")
    resumed = begin()
    resumed.restore(read_checkpoint(folders[-1]))
    assert resumed.recovery == stopped.recovery
    resumed.fit()
    assert resumed.recovery == whole.recovery
    assert same(state(resumed.objective), state(whole.objective))
    assert same(state(resumed.model), state(whole.model))


def test_a_run_that_was_killed_goes_back_again_and_equals_one_that_was_not(tmp_path: Path) -> None:
    whole = rolling(climbing(0.65), steps=8, directory=tmp_path / "whole", keep_checkpoints=9).fit()
    resumed = rolling(climbing(0.65), steps=8)
    resumed.restore(read_checkpoint(tmp_path / "whole" / "checkpoints" / "step-000004"))
    assert resumed.recovery.rollbacks == 0
    assert same(state(resumed.fit().objective), state(whole.objective))
    assert resumed.recovery == whole.recovery
