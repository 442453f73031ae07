"""``engine.on_nonfinite=skip``: an update that is not finite is left out, counted and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import FromPhases, Watcher, engine, model, optimizer, same, squared_error, state

import ganvae_core as gv
from ganvae_core.store.checkpoints import read_checkpoint

OPTIONS: dict[str, dict[str, Any]] = {
    "adam": {}, "adamw": {"weight_decay": 0.1}, "sgd": {"momentum": 0.9}, "rmsprop": {"momentum": 0.9},
}  # fmt: skip


def failing(fails: Callable[[int], bool], how: str = "loss", after: list[Any] | None = None) -> FromPhases:
    """Two phases with a network each; the second, which has batch norm, meets what is not finite at some steps."""

    def phases(objective: Any) -> list[gv.Phase]:
        def steady(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(objective.second(batch.x).square().mean())

        def game(batch: gv.Batch) -> gv.Loss:
            loss = squared_error(objective)(batch).value
            if fails(batch.samples_seen // 8) and how == "loss":
                return gv.Loss(loss * torch.inf, {"part": loss})
            if fails(batch.samples_seen // 8):  # sqrt has an infinite slope at zero: the loss is finite
                loss = loss + objective.model.generator.head.bias.mul(0).sqrt().sum()
            return gv.Loss(loss, {"part": loss})

        note = None if after is None else after.append
        return [
            gv.Phase("steady", steady, trains=[objective.second]),
            gv.Phase("game", game, trains=[objective.model], after=note),
        ]

    torch.manual_seed(0)
    return FromPhases(model(encoder=False, batch_norm=True), phases, second=nn.Linear(3, 1))


def skipping(objective: FromPhases, name: str = "sgd", **changes: Any) -> gv.Engine:
    chosen = {"optimizers": optimizer(name, 0.01, **OPTIONS[name]), "on_nonfinite": "skip", **changes}
    return engine(objective, **chosen)


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("how", ["loss", "gradient"])
@pytest.mark.parametrize("name", list(OPTIONS))
def test_a_dropped_update_is_as_if_its_phase_had_not_run_in_that_step(name: str, how: str, at: int) -> None:
    objective = failing(lambda step: step == at, how)
    skipping(objective, name, steps=6).fit()

    without = failing(lambda step: False)
    left_out = skipping(without, name, steps=6).fit(at)
    left_out.state.step = at + 1
    left_out.fit()
    assert same(state(objective.model), state(without.model)), "weights, or statistics of batch norm"

    never = failing(lambda step: False)
    skipping(never, name, steps=6).fit()
    second = objective.get_submodule("second")
    assert same(state(second), state(never.get_submodule("second"))), "the other phase missed an update"
    assert not same(state(objective.model), state(never.model))


def test_what_follows_a_successful_update_does_not_follow_a_dropped_one() -> None:
    seen: list[Any] = []
    skipping(failing(lambda step: step in (1, 2), after=seen), steps=5).fit()
    assert len(seen) == 3
    assert all(averages["part"].isfinite() for averages in seen)


def test_dropped_updates_are_counted_by_phase_and_said_once_an_interval() -> None:
    watcher, whole = Watcher(), Watcher()
    skipping(failing(lambda step: step in (1, 2, 5)), steps=9, log_every=3, callbacks=[watcher]).fit()
    skipping(failing(lambda step: step in (1, 2, 5)), steps=9, log_every=1, callbacks=[whole]).fit()
    first, second, third = watcher.records
    assert [record.get("game/dropped_updates") for record in watcher.records] == [2, 1, None]
    assert not any("steady/dropped_updates" in record for record in watcher.records)
    assert first["warnings"] == [
        "step 3: 2 of the last 3 updates of phase 'game' were dropped, not finite: loss, gradient norm"
        " (step 2 the first)"
    ]
    assert second["warnings"] == [
        "step 6: 1 of the last 3 updates of phase 'game' was dropped, not finite: loss, gradient norm (step 6)"
    ]
    assert "warnings" not in third
    made = [record["game/loss"] for record in whole.records if "game/loss" in record]
    assert len(made) == 6
    assert second["game/loss"] == pytest.approx(sum(made[1:3]) / 2), (
        "averages are over the updates that were made"
    )


@pytest.mark.parametrize("log_every", [1, 4, 25])
def test_a_phase_that_gets_nowhere_in_an_interval_ends_the_run(log_every: int, tmp_path: Path) -> None:
    training = skipping(
        failing(lambda step: step >= 3), steps=99, log_every=log_every, checkpoint_every=2, directory=tmp_path
    )
    with pytest.raises(gv.TrainingError, match="updates of phase 'game' were all dropped, not finite: loss"):
        training.fit()
    # Ten in a row at least, and a whole interval.
    assert training.step_index == {1: 13, 4: 14, 25: 14}[log_every]
    assert training.state.recovery.dropped_in_a_row == {"game": training.step_index - 3}


def test_a_phase_that_runs_seldom_is_not_given_up_for_one_update() -> None:
    skipping(failing(lambda step: step % 12 < 9), steps=60, log_every=3).fit()


def test_updates_in_a_row_are_counted_on_when_a_run_goes_on(tmp_path: Path) -> None:
    def begin(**changes: Any) -> gv.Engine:
        return skipping(failing(lambda step: step >= 3), steps=99, **changes)

    begin(directory=tmp_path).fit(9)
    kept = read_checkpoint(tmp_path / "checkpoints" / "step-000009")
    assert (
        kept.manifest["recovery"]["dropped"] == kept.manifest["recovery"]["dropped_in_a_row"] == {"game": 6}
    )
    resumed = begin()
    resumed.restore(kept)
    with pytest.raises(gv.TrainingError, match="step 13: the last 10 updates"):
        resumed.fit()
    assert resumed.state.recovery.dropped == {"game": 10}


def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    training = skipping(failing(lambda step: step == 2), "adam", steps=9, log_every=100)
    for each in training.state.optimizers.values():
        each.masks_updates = True  # as on an accelerator
    generator = torch.Generator()
    waits: list[str] = []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        inner = getattr(torch.Tensor, name)

        def waiting(self: torch.Tensor, *arguments: Any, name: str = name, inner: Any = inner) -> Any:
            waits.append(name)
            return inner(self, *arguments)

        monkeypatch.setattr(torch.Tensor, name, waiting)
    for _ in range(9):
        training.step(generator)
    assert waits == []
    training.report()
    assert waits == ["tolist"]
    assert training.state.recovery.dropped == {"game": 1}
