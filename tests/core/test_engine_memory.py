"""Out of an accelerator's memory: an update is done again in smaller parts, as if they had been asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import (
    FromPhases,
    Watcher,
    engine,
    model,
    optimizer,
    regression,
    rows,
    same,
    squared_error,
    state,
)  # fmt: skip

import ganvae_core as gv
from ganvae_core.builtin.prior_likelihood import PriorLikelihood
from ganvae_core.data.stream import DataStream
from ganvae_core.engine.precision import Computing
from ganvae_core.engine.processes import World
from ganvae_core.engine.updates import Updates
from ganvae_core.evaluation.measuring import evaluate
from ganvae_core.evaluation.sampling import sample_rows
from ganvae_core.store.checkpoints import read_checkpoint

CPU = torch.device("cpu")
FITS = 3
"""Rows that fit into the memory that these losses pretend to have; a batch is of eight."""


class Noisy(gv.Generator):
    """Spectral norm, whose vectors each forward moves, and dropout: buffers and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Linear(2, 4)), nn.Dropout(0.3), nn.Linear(4, 3)
        )

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.layers(z)


def limited(fits: int = 8, at_row: int = 0, couples_rows: bool = False, from_step: int = 0) -> FromPhases:
    """Two phases; more rows than fit are too many where a part holds the row of the batch that is named.

    The error comes after the forward pass, when buffers have moved, and for ``at_row`` > 0 after gradients of parts.
    """

    def phases(objective: Any) -> list[gv.Phase]:
        seen: dict[int, int] = {}

        def loss(batch: gv.Batch) -> gv.Loss:
            first = seen.get(batch.samples_seen, 0) % 8
            seen[batch.samples_seen] = first + len(batch.x)
            made = objective.model.generator(batch.x[:, :2]) + torch.randn_like(batch.x)
            error = (made - batch.x).square().sum(1).mean()
            if len(batch.x) > fits and first + len(batch.x) > at_row and batch.samples_seen >= 8 * from_step:
                seen[batch.samples_seen] = 0
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB.")
            return gv.Loss(error, {"error": error}, {"worst": made.mean(0)})

        def steady(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(objective.second(batch.x + torch.randn_like(batch.x)).square().mean())

        return [
            gv.Phase("game", loss, trains=[objective.model], couples_rows=couples_rows),
            gv.Phase("second", steady, trains=[objective.second]),
        ]

    own = model(encoder=False)
    torch.manual_seed(0)
    own.generator = Noisy()
    return FromPhases(own, phases, second=nn.Linear(3, 1))


@pytest.mark.parametrize(("asked", "at_row"), [(None, 0), (4, 0), (4, 5)])
@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
def test_the_result_is_what_accumulation_with_fewer_rows_gives(
    name: str, asked: int | None, at_row: int
) -> None:
    optimizers = optimizer(name, 0.01)
    redone = engine(limited(FITS, at_row), micro_batch_size=asked, optimizers=optimizers).fit()
    given = engine(limited(), micro_batch_size=2, optimizers=optimizers).fit()
    assert redone.rows_at_once == given.rows_at_once == 2
    assert same(state(redone.objective), state(given.objective))
    assert same(state(redone.model), state(given.model))
    whole = engine(limited(), optimizers=optimizers).fit()
    assert not same(state(redone.objective), state(whole.objective))


def test_it_is_said_once_and_the_parts_stay_small(caplog: pytest.LogCaptureFixture) -> None:
    watcher = Watcher()
    engine(limited(FITS, from_step=1), steps=5, callbacks=[watcher]).fit()
    (text,) = caplog.messages
    assert text == (
        "step 2: cpu ran out of memory with 8 rows at once; the step was done again, and training goes on,"
        " with 2 at once\n  to begin with as many:  engine.micro_batch_size=2"
    )
    assert [record.get("warnings") for record in watcher.records] == [None, [text], None, None, None]


def test_a_run_goes_on_with_the_parts_that_it_had(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = engine(limited(FITS, from_step=2), steps=6).fit()
    engine(limited(FITS, from_step=2), steps=6, directory=tmp_path).fit(4)
    kept = read_checkpoint(tmp_path / "checkpoints" / "step-000004")
    assert kept.manifest["micro_batch_size"] == 2
    resumed = engine(limited(FITS, from_step=2), steps=6)
    with pytest.raises(gv.RunError, match=r"the manifest of .* is damaged: "):
        resumed.restore(replace(kept, manifest={**kept.manifest, "micro_batch_size": "often"}))
    resumed.restore(kept)
    caplog.clear()
    resumed.fit()
    assert caplog.messages == []
    assert same(state(resumed.objective), state(whole.objective))


def refused(**changes: Any) -> gv.TrainingError:
    with pytest.raises(gv.TrainingError, match="step 1: cpu ran out of memory in phase 'game'") as raised:
        engine(limited(**{"fits": FITS, **changes}), steps=1).fit()
    assert isinstance(raised.value.__cause__, torch.OutOfMemoryError)
    return raised.value


def test_rows_that_belong_together_are_not_split() -> None:
    error = refused(couples_rows=True)
    assert "with all 8 rows at once" in error.message
    assert "engine.micro_batch_size does not split" in error.hints[0]
    assert "engine.batch_size=4" in error.hints[1]


def test_where_a_single_row_is_too_many_that_is_said() -> None:
    error = refused(fits=0)
    assert "a single row at once (engine.micro_batch_size=1)" in error.message


def test_one_of_several_processes_does_not_split_alone() -> None:
    training = engine(limited(fits=0))
    updates = Updates(
        training.state,
        training.phases,
        World(rank=1, size=2),
        0,
        Computing(training.objective, training.phases, training.settings, training.device, "fp32"),
        training.stop_flag,
    )
    batch = gv.Batch(torch.zeros(4, 3), None, None, torch.arange(4), 0)
    with pytest.raises(gv.TrainingError, match="with 4 rows at once in each process") as raised:
        updates.make(training.phases[0], batch, torch.Generator())
    assert "engine.micro_batch_size=2" in raised.value.hints[0]


def test_another_error_is_not_taken_for_it() -> None:
    objective = limited()
    make = objective.make

    def phases(own: Any) -> list[gv.Phase]:
        def broken(batch: gv.Batch) -> gv.Loss:
            raise RuntimeError("out of memory, says the plugin")

        return [gv.Phase("game", broken, trains=[own.model]), make(own)[1]]

    objective.make = phases  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(RuntimeError, match="says the plugin"):
        engine(objective).fit()


def test_data_on_the_device_is_given_up_before_rows_are_split(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It even saves a phase whose rows cannot be split."""
    resident = [True, False]

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            if resident[0]:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return squared_error(objective)(batch)

        return [gv.Phase("regression", loss, trains=[objective.model.generator], couples_rows=True)]

    monkeypatch.setattr(DataStream, "release", lambda self: resident.pop(0))
    redone = engine(FromPhases(model(encoder=False), phases)).fit()
    assert redone.rows_at_once == 8
    assert caplog.messages == [
        "step 1: cpu ran out of memory; the data is not kept on it any more, and is read ahead instead"
    ]
    assert same(state(redone.objective), state(engine(regression()).fit().objective))


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_an_optimizer_that_cannot_allocate_its_state_is_called_again_without_the_data(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = [True, False]
    monkeypatch.setattr(DataStream, "release", lambda self: resident.pop(0))
    redone = engine(regression(), optimizers=optimizer(name, 0.01))
    real, zeros_like, calls = redone.state.optimizers["regression"].torch_optimizer, torch.zeros_like, [0]

    def limited_zeros(*arguments: Any, **options: Any) -> Tensor:
        calls[0] += 1
        if calls[0] == 2:  # between the two moments of the first parameter
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return zeros_like(*arguments, **options)

    monkeypatch.setattr(torch, "zeros_like", limited_zeros)
    redone.fit()
    monkeypatch.undo()
    assert calls[0] > 2
    assert real.state
    plain = engine(regression(), optimizers=optimizer(name, 0.01)).fit()
    assert same(state(redone.objective), state(plain.objective))


def test_where_an_optimizer_runs_out_of_memory_for_good_that_is_said() -> None:
    training = engine(regression())

    def step() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    training.state.optimizers["regression"].torch_optimizer.step = step  # pyright: ignore
    with pytest.raises(gv.TrainingError, match="ran out of memory in the optimizer of phase 'regression'"):
        training.fit()


class Narrow(gv.Generator):
    """Has memory for so many rows at once, and notes how many it is given."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.fits, self.given = fits, list[int]()
        self.layer = nn.Linear(2, 3)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        self.given.append(len(z))
        if len(z) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.layer(z)


def narrow(fits: int) -> gv.Model:
    own = model().eval()
    torch.manual_seed(1)
    own.generator = Narrow(fits)
    return own


def test_samples_are_made_in_parts_where_memory_is_short() -> None:
    wide, short = narrow(256), narrow(100)
    torch.testing.assert_close(
        sample_rows(short, 300, 0, CPU).x, sample_rows(wide, 300, 0, CPU).x, rtol=1e-5, atol=1e-6
    )
    assert wide.generator.given == [256, 256]
    assert short.generator.given == [256, 128, 64, 64, 64, 64, 64, 64, 64, 64]
    with pytest.raises(gv.GanvaeError, match="memory ran out with a single row"):
        sample_rows(narrow(0), 1, 0, CPU)


class NarrowEncoder(gv.Encoder):
    """Memory runs out with more rows than fit."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.inner, self.fits = model().encoder, fits

    def forward(self, x: Tensor, condition: Tensor | None = None) -> gv.Posterior:
        if len(x) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert self.inner is not None
        return gv.Dirac(self.inner(x, condition).mean)  # draws depend on the parts


def test_codes_of_a_stage_are_computed_in_parts_where_memory_is_short() -> None:
    def trained(fits: int) -> gv.Engine:
        own = model()
        own.encoder = NarrowEncoder(fits)
        own.prior = gv.Mixture([2], components=2)
        return engine(PriorLikelihood(own)).fit()

    short, wide = trained(FITS), trained(8)
    for found, expected in zip(short.model.prior.parameters(), wide.model.prior.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    assert not same(state(short.model.prior), state(gv.Mixture([2], components=2)))


def test_metrics_are_measured_in_parts_where_memory_is_short() -> None:
    class Reconstruction(gv.Metric):
        figures = (gv.Figure("error", "error", "", "lower"),)

        def measure(self, subject: gv.Subject) -> dict[str, float]:
            errors = [
                (subject.model.reconstruct(batch.x) - batch.x)
                .square()
                .sum(1)  # by itself, with the whole batch
                for batch in subject.held_out()
            ]
            return {"error": torch.cat(errors).mean().item()}

    data = gv.split(gv.as_source(rows(400)), held_out=0.5)
    wide, short = narrow(256), narrow(100)
    expected = evaluate(wide, data, [Reconstruction()], 0, CPU)
    assert evaluate(short, data, [Reconstruction()], 0, CPU) == pytest.approx(expected, rel=1e-5)
    assert max(short.generator.given[-2:]) <= 100
    subject = gv.ModelSubject(short, data)
    (batch,) = subject.held_out()
    assert len(subject.reconstructions(batch)) == 200
