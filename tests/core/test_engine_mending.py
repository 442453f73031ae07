"""What must hold after something went wrong, and for memory orders and rows that are coupled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ganvae_dcgan.networks import DCGANCritic, DCGANGenerator
from ganvae_gan.objective import NonSaturating
from ganvae_vae.objective import ELBO

import ganvae_core as gv
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.manifests import checkpoint_folders

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
SPEC = gv.DataSpec((1, 8, 8), modality="image")


def adversarial() -> NonSaturating:
    torch.manual_seed(0)
    model = gv.Model(DCGANGenerator([4], SPEC.shape, filters=4), gv.StandardNormal([4]), gv.Point(SPEC))
    return NonSaturating(model, SPEC, lambda data: DCGANCritic(data, filters=4))


def settings(**changes: Any) -> gv.EngineSettings:
    return gv.EngineSettings(**{"steps": 8, "batch_size": 8, "log_every": 1, **changes})


@pytest.mark.parametrize("channels_last", [False, True])
def test_convolutions_go_on_bit_for_bit_in_either_memory_order(channels_last: bool, tmp_path: Path) -> None:
    chosen = settings(channels_last=channels_last)
    whole = gv.Engine(adversarial(), IMAGES, chosen).fit()
    gv.Engine(adversarial(), IMAGES, chosen, saver=gv.CheckpointWriter(tmp_path)).fit(5)
    second = gv.Engine(adversarial(), IMAGES, chosen)
    second.restore(read_checkpoint(list(checkpoint_folders(tmp_path / "checkpoints").values())[-1]))
    second.fit()
    for expected, found in zip(whole.objective.state_dict().values(), second.objective.state_dict().values(),
                               strict=True):  # fmt: skip
        assert torch.equal(expected, found)


class Poison(gv.Callback):
    """Makes one weight infinite after a step, as a bit that flipped would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if record["step"] == self.at:
            with torch.no_grad():
                next(training.objective.model.generator.parameters())[0, 0] = torch.inf


def test_after_a_failure_the_averages_are_finite_and_a_mended_run_learns_again() -> None:
    engine = gv.Engine(adversarial(), IMAGES, settings(steps=6), callbacks=[Poison(3)])
    with pytest.raises(gv.TrainingError, match="step 4"):
        engine.fit()
    for name, buffer in engine.objective.named_buffers():
        assert buffer.isfinite().all(), name
    with torch.no_grad():
        next(engine.objective.model.generator.parameters())[0, 0] = 0.0
    engine.callbacks.clear()
    before = [weight.clone() for weight in engine.objective.critic.parameters()]
    engine.fit(12)
    after = list(engine.objective.critic.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_rows_that_batch_norm_ties_together_are_never_split() -> None:
    whole = gv.Engine(adversarial(), IMAGES, settings()).fit()
    split = gv.Engine(adversarial(), IMAGES, settings(micro_batch_size=3)).fit()
    for expected, found in zip(whole.objective.parameters(), split.objective.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_a_batch_of_one_row_under_batch_norm_is_refused_at_the_start() -> None:
    with pytest.raises(gv.ConfigurationError, match="batch of one row"):
        gv.Engine(adversarial(), IMAGES, settings(batch_size=1))


def test_a_gan_leaves_an_encoder_as_it_is_and_a_second_stage_can_train_it() -> None:
    torch.manual_seed(0)
    encoder = gv.MLPEncoder(SPEC, [4])
    model = gv.Model(gv.MLPGenerator([4], SPEC.shape), gv.StandardNormal([4]), gv.Bernoulli(), encoder)
    first = [weight.clone() for weight in encoder.parameters()]
    gv.Engine(NonSaturating(model, SPEC, gv.MLPCritic), IMAGES, settings()).fit()
    assert all(torch.equal(old, new) for old, new in zip(first, encoder.parameters(), strict=True))
    gv.Engine(ELBO(model), IMAGES, settings()).fit()
    assert all(not torch.equal(old, new) for old, new in zip(first, encoder.parameters(), strict=True))


class Stop(gv.Callback):
    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if record["step"] == 3:
            training.stop("that is enough")


def test_a_callback_can_end_a_run_early_and_it_can_be_taken_up_again() -> None:
    engine = gv.Engine(adversarial(), IMAGES, settings(), callbacks=[Stop()])
    assert engine.fit().step_index == 3
    engine.callbacks.clear()
    assert engine.fit().step_index == 8


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (lambda x: x.mean(), "returned Tensor"),
        (lambda x: gv.Loss(x.flatten(1).mean(1)), r"'value' is of shape \(8,\)"),
        (lambda x: gv.Loss(x.mean(), {"error": 1.0}), "'error' is float"),
        (lambda x: gv.Loss(x.detach().mean()), "does not depend on what the phase trains"),
    ],
)
def test_a_loss_that_is_none_is_said_with_the_phase_and_the_term(outcome: Any, expected: str) -> None:
    class Mine(gv.Objective):
        needs = frozenset()

        def __init__(self) -> None:
            super().__init__()
            self.model = gv.Model(gv.MLPGenerator([4], SPEC.shape), gv.StandardNormal([4]), gv.Point(SPEC))

        def phases(self) -> list[gv.Phase]:
            return [gv.Phase("mine", self.loss, trains=[self.model])]

        def loss(self, batch: gv.Batch) -> Any:
            return outcome(self.model.sample(len(batch.x)))

    with pytest.raises(gv.TrainingError, match=expected):
        gv.Engine(Mine(), IMAGES, settings()).fit()
