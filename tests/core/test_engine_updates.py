"""One update: micro-batches, clipping, schedules, ``after``, and what happens where a number is not finite."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import FromPhases, engine, model, optimizer, regression, rows, same, squared_error, state

import ganvae_core as gv
from ganvae_core.engine.optimizers import ScheduledOptimizer
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.manifests import checkpoint_folders


@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_micro_batches_give_the_gradient_of_the_whole_batch(size: int) -> None:
    whole = engine(regression()).fit()
    parts = engine(regression(), micro_batch_size=size).fit()
    for name, value in state(whole.objective).items():
        torch.testing.assert_close(state(parts.objective)[name], value, rtol=1e-6, atol=1e-6)


def sizes_seen(couples_rows: bool = False, **changes: Any) -> list[int]:
    """Rows in each call of a loss, for one step of eight rows."""
    seen: list[int] = []

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            seen.append(len(batch.x))
            return squared_error(objective)(batch)

        return [gv.Phase("a", loss, trains=[objective.model], couples_rows=couples_rows)]

    engine(FromPhases(model(encoder=False), phases), steps=1, **changes).fit()
    return seen


def test_a_batch_is_split_but_never_where_the_loss_couples_rows() -> None:
    assert sizes_seen(micro_batch_size=3) == [3, 3, 2]
    assert sizes_seen(micro_batch_size=20) == [8]
    assert sizes_seen(micro_batch_size=3, couples_rows=True) == [8]


def test_rows_and_conditions_of_micro_batches_belong_together() -> None:
    values = rows()
    labels = (values[:, 0] > 0).astype(int)
    data = gv.split(gv.as_source(values, labels), conditional=True)
    seen: list[gv.Batch] = []

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            seen.append(batch)
            return squared_error(objective)(batch)

        return [gv.Phase("a", loss, trains=[objective.model])]

    engine(FromPhases(model(encoder=False), phases), data=data, steps=2, micro_batch_size=3).fit()
    for batch in seen:
        assert batch.condition is not None
        assert batch.condition.argmax(1).tolist() == labels[batch.index.numpy()].tolist()


def test_micro_batches_draw_random_numbers_by_their_first_row() -> None:
    drawn: list[Tensor] = []

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            drawn.append(torch.rand(len(batch.x)))
            return squared_error(objective)(batch)

        return [gv.Phase("a", loss, trains=[objective.model])]

    engine(FromPhases(model(encoder=False), phases), steps=1, micro_batch_size=4).fit()
    halves = list(drawn)
    drawn.clear()
    engine(FromPhases(model(encoder=False), phases), steps=1, micro_batch_size=2).fit()
    assert torch.equal(halves[0][:2], drawn[0])
    assert torch.equal(halves[1][:2], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def objective_with_after(after_sees: list[Any], **phase: Any) -> FromPhases:
    """Keeps the average of its statistic in a buffer that belongs to no phase's module."""

    def phases(objective: Any) -> list[gv.Phase]:
        def after(averages: Mapping[str, Tensor]) -> None:
            after_sees.append((dict(averages), torch.is_grad_enabled()))
            objective.memory.add_(averages["worst"])
            objective.model.generator.head.bias.clamp_(-0.01, 0.01)

        return [gv.Phase("a", squared_error(objective), trains=[objective.model], after=after, **phase)]

    objective = FromPhases(model(encoder=False), phases)
    objective.register_buffer("memory", torch.zeros(3))
    return objective


def test_after_runs_once_per_update_without_gradients_on_averages() -> None:
    whole: list[Any] = []
    parts: list[Any] = []
    engine(objective_with_after(whole), steps=3).fit()
    engine(objective_with_after(parts), steps=3, micro_batch_size=3).fit()
    assert len(whole) == len(parts) == 3
    for (averages, gradients), (by_parts, _) in zip(whole, parts, strict=True):
        assert averages.keys() == {"error", "worst"}
        assert not gradients
        assert not any(value.requires_grad for value in [*averages.values(), *by_parts.values()])
        torch.testing.assert_close(by_parts, averages, rtol=1e-5, atol=1e-6)


def test_what_after_changes_stays_changed() -> None:
    seen: list[Any] = []
    objective = objective_with_after(seen)
    engine(objective, steps=3).fit()
    expected = torch.stack([averages["worst"] for averages, _ in seen]).sum(0)
    torch.testing.assert_close(objective.get_buffer("memory"), expected)
    assert objective.model.generator.get_parameter("head.bias").detach().abs().max() <= 0.01


def test_after_runs_only_when_its_phase_does() -> None:
    seen: list[Any] = []
    engine(objective_with_after(seen, every=2), steps=5).fit()
    assert len(seen) == 2


@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_on_an_accelerator_what_after_changed_is_put_back_where_the_update_failed(how: str) -> None:
    """The device is not waited for: ``after`` runs in every step, and what it did is masked."""
    runs: list[Any] = []
    objective = failing(2, how, runs)
    objective.register_buffer("memory", torch.zeros(()))
    training = engine(objective, steps=4, log_every=4)
    training._updates.masks_after = True  # pyright: ignore[reportPrivateUsage]
    after = training.phases[1].phase.after
    assert after is not None

    def counting(averages: Mapping[str, Tensor]) -> None:
        after(averages)
        objective.get_buffer("memory").add_(1)
        objective.model.generator.head.bias.clamp_(-0.01, 0.01)  # pyright: ignore

    object.__setattr__(training.phases[1].phase, "after", counting)
    with pytest.raises(gv.TrainingError, match="not finite"):
        training.fit()
    assert len(runs) == 4
    assert objective.get_buffer("memory").item() == 2, "no update is made after one that failed"
    assert all(parameter.isfinite().all() for parameter in objective.parameters())


def failing(at_step: int, how: str, after: list[Any] | None = None) -> FromPhases:
    """Two phases with one network each, the second of which meets a number that is not finite."""

    def phases(objective: Any) -> list[gv.Phase]:
        def steady(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(objective.second(batch.x).square().mean())

        def broken(batch: gv.Batch) -> gv.Loss:
            loss = squared_error(objective)(batch).value
            if batch.samples_seen != 8 * at_step:
                return gv.Loss(loss, {"part": loss})
            if how == "loss":
                return gv.Loss(loss / 0, {"part": loss, "broken": loss / 0})
            # sqrt has an infinite slope at zero: the loss is finite, its gradient is not.
            return gv.Loss(loss + objective.model.generator.head.bias.mul(0).sqrt().sum(), {"part": loss})

        note = None if after is None else (lambda averages: after.append(averages))
        return [
            gv.Phase("steady", steady, trains=[objective.second]),
            gv.Phase("game", broken, trains=[objective.model], after=note),
        ]

    torch.manual_seed(0)
    own = model(encoder=False, batch_norm=True)
    return FromPhases(own, phases, second=torch.nn.Linear(3, 1))


@pytest.mark.parametrize("how", ["loss", "gradient"])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("log_every", [1, 4])
def test_where_a_number_is_not_finite_the_weights_are_those_from_before(
    how: str, name: str, log_every: int, tmp_path: Path
) -> None:
    after: list[Any] = []
    objective = failing(2, how, after)
    options = {"momentum": 0.9} if name in ("sgd", "rmsprop") else {}
    training = engine(
        objective, steps=9, log_every=log_every, checkpoint_every=2, keep_checkpoints=9,
        optimizers=optimizer(name, 0.01, **options), directory=tmp_path,
    )  # fmt: skip
    expected = "loss" if how == "loss" else "gradient norm"
    with pytest.raises(gv.TrainingError, match=f"step 3: not finite in phase 'game': .*{expected}"):
        training.fit()
    before = engine(failing(99, how), steps=2, optimizers=optimizer(name, 0.01, **options)).fit()
    assert same(state(objective.model), state(before.objective.model)), "weights, or statistics of batch norm"
    assert len(after) == 2, "after ran for an update that was not made"
    assert [folder.name for folder in list(checkpoint_folders(tmp_path / "checkpoints").values())] == [
        "step-000002"
    ]
    kept = read_checkpoint(tmp_path / "checkpoints" / "step-000002")
    assert same(kept.model(), {name: value for name, value in state(before.model).items() if "." in name
                               and not name.endswith(("placement", "log_scale"))})  # fmt: skip


def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    training = engine(failing(99, "loss"), steps=9, log_every=100, optimizers=optimizer("adam", 0.01))
    for each in training.state.optimizers.values():
        each.masks_updates = True  # as on an accelerator
    generator = torch.Generator()
    waits: list[str] = []
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        inner = getattr(Tensor, name)

        def waiting(self: Tensor, *arguments: Any, name: str = name, inner: Any = inner) -> Any:
            waits.append(name)
            return inner(self, *arguments)

        monkeypatch.setattr(Tensor, name, waiting)
    for _ in range(9):
        training.step(generator)
    assert waits == []
    training.report()
    assert waits == ["tolist"]


def test_after_a_number_that_was_not_finite_the_next_fit_begins_without_it() -> None:
    training = engine(failing(2, "loss"), steps=9)
    with pytest.raises(gv.TrainingError, match="step 3: not finite"):
        training.fit()
    training.state.step = 3
    training.fit()
    assert training.step_index == 9


def test_the_error_names_the_terms_that_were_not_finite() -> None:
    with pytest.raises(gv.TrainingError, match="loss, broken, gradient norm") as raised:
        engine(failing(1, "loss")).fit()
    assert "part" not in raised.value.message


class Callable:
    """A loss that is an object: it has no name of its own."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def __call__(self, batch: gv.Batch) -> Any:
        return self.result(batch)


LOSSES: dict[str, tuple[Any, str]] = {
    "a tensor": (lambda own, batch: own.model.generator(batch.x[:, :2]).mean(), "returned Tensor"),
    "a loss a row": (
        lambda own, batch: gv.Loss(own.model.generator(batch.x[:, :2]).sum(1)),
        r"'value' is of shape \(8,\)",
    ),
    "a number as a term": (
        lambda own, batch: gv.Loss(own.model.generator(batch.x[:, :2]).mean(), {"part": 1.0}),
        "'part' is float",
    ),
    "a loss of nothing": (
        lambda own, batch: gv.Loss(batch.x.mean()),
        "does not depend on what the phase trains",
    ),
}


@pytest.mark.parametrize("what", list(LOSSES))
def test_what_is_no_loss_is_said_with_the_phases_name(what: str) -> None:
    result, message = LOSSES[what]
    objective = FromPhases(
        model(encoder=False),
        lambda own: [gv.Phase("mine", Callable(lambda batch: result(own, batch)), trains=[own.model])],
    )
    with pytest.raises(gv.TrainingError, match=f"the loss of phase 'mine'.*{message}"):
        engine(objective).fit()


def test_a_loss_may_be_any_callable() -> None:
    def phases(own: Any) -> list[gv.Phase]:
        return [gv.Phase("a", functools.partial(squared_error(own)), trains=[own.model])]

    trained = engine(FromPhases(model(encoder=False), phases)).fit()
    assert same(state(trained.objective), state(engine(regression()).fit().objective))


def test_a_logged_term_that_is_not_finite_does_not_stop_a_finite_update() -> None:
    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            value = squared_error(objective)(batch).value
            return gv.Loss(value, {"log_accuracy": torch.zeros(()).log()})

        return [gv.Phase("a", loss, trains=[objective.model])]

    trained = engine(FromPhases(model(encoder=False), phases), steps=2).fit()
    assert same(state(trained.objective), state(engine(regression(), steps=2).fit().objective))


def test_gradients_are_clipped_to_the_norm_and_logged_before_it() -> None:
    logged: list[float] = []

    class Note(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
            logged.append(record["regression/gradient_norm"])

    clipped, plain = regression(), regression()
    before = state(clipped.model)
    engine(clipped, steps=1, optimizers=optimizer(clip_norm=0.01), callbacks=[Note()]).fit()
    engine(plain, steps=1).fit()
    moved = torch.cat([(state(clipped.model)[name] - value).flatten() for name, value in before.items()])
    whole = torch.cat([(state(plain.model)[name] - value).flatten() for name, value in before.items()])
    assert moved.norm().item() == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert torch.cosine_similarity(moved, whole, dim=0).item() == pytest.approx(1, abs=1e-5)
    assert logged[0] == pytest.approx(whole.norm().item() / 0.1, rel=1e-3)


def test_a_clip_norm_that_is_not_reached_changes_nothing() -> None:
    clipped, plain = engine(regression(), optimizers=optimizer(clip_norm=1e6)), engine(regression())
    assert same(state(clipped.fit().objective), state(plain.fit().objective))


SCHEDULES = {"constant": None, "linear": gv.schedule.Linear(), "cosine": gv.schedule.Cosine()}


def rates(schedule: str, warmup_samples: int = 0) -> list[float]:
    """Learning rates of a run of 100 rows, at each tenth of it."""
    settings = gv.OptimizerSettings(2.0, schedule=SCHEDULES[schedule], warmup_samples=warmup_samples)
    scheduled = ScheduledOptimizer(settings, [torch.nn.Parameter(torch.zeros(1))], total_samples=100)
    return [scheduled.learning_rate(seen) for seen in range(0, 101, 10)]


def test_learning_rates_are_a_function_of_the_rows_seen() -> None:
    assert rates("constant") == [2.0] * 11
    assert rates("linear") == pytest.approx([2 * (1 - part / 10) for part in range(11)])
    assert rates("cosine") == pytest.approx([1 + math.cos(math.pi * part / 10) for part in range(11)])
    assert rates("constant", warmup_samples=40) == pytest.approx(
        [2 * min(1, (seen + 1) / 40) for seen in range(0, 101, 10)]
    )
    assert rates("linear", warmup_samples=40)[2] == pytest.approx(2 * 21 / 40 * 0.8)


def test_a_falling_schedule_moves_weights_as_its_rates_say() -> None:
    falling = engine(regression(), steps=4, optimizers=optimizer(schedule=SCHEDULES["linear"])).fit()
    by_hand = regression()
    for step, rate in enumerate([0.1, 0.075, 0.05, 0.025]):
        one = engine(by_hand, optimizers=optimizer(lr=rate))
        one.state.step = step
        one.fit(step + 1)
    for name, value in state(falling.objective).items():
        torch.testing.assert_close(state(by_hand)[name], value, rtol=1e-6, atol=1e-7)


def test_a_falling_schedule_ends_with_the_steps_that_are_asked_for() -> None:
    asked = engine(regression(), steps=400, optimizers=optimizer(schedule=SCHEDULES["linear"])).fit(4)
    set_so = engine(regression(), steps=4, optimizers=optimizer(schedule=SCHEDULES["linear"])).fit()
    assert same(state(asked.objective), state(set_so.objective))


def test_averages_of_an_interval_are_over_its_updates() -> None:
    def records(log_every: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        class Note(gv.Callback):
            def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
                found.append(dict(record))

        engine(regression(every=2), steps=6, log_every=log_every, callbacks=[Note()]).fit()
        return found

    single, joint = records(1), records(6)
    losses = [record["regression/loss"] for record in single if "regression/loss" in record]
    assert len(losses) == 3
    assert joint[-1]["regression/loss"] == pytest.approx(sum(losses) / 3)
    assert (joint[-1]["step"], joint[-1]["samples_seen"]) == (6, 48)
