"""The game of the GAN plugin: every loss with every option, against what the papers say."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gan_losses import EVERY_LOSS
from ganvae_dcgan.networks import DCGANCritic, DCGANGenerator
from ganvae_gan.objective import (
    AdversarialGame,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
    WassersteinPenalised,
)
from ganvae_gan.packing import packed, packed_spec
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import ganvae_core as gv
from ganvae_core import losses, penalties
from ganvae_core.builtin.augmentation import SAMPLES_SEEN

SPEC = gv.DataSpec((3,), None, "table")


def game(kind: type[AdversarialGame] = NonSaturating, **options: Any) -> AdversarialGame:
    torch.manual_seed(0)
    model = gv.Model(gv.MLPGenerator([2], [3], hidden=(8,)), gv.StandardNormal([2]), gv.Point())
    return kind(model, SPEC, lambda data: gv.MLPCritic(data, hidden=(8,)), **options)


def batch(rows: int = 12) -> gv.Batch:
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))
    return gv.Batch(x, None, None, torch.arange(rows), 0)


def trained(objective: AdversarialGame, steps: int = 6) -> AdversarialGame:
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    gv.Engine(objective, rows, gv.EngineSettings(steps=steps, batch_size=12)).fit()
    return objective


@pytest.mark.parametrize("kind", EVERY_LOSS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"r1_weight": 2.0, "r2_weight": 0.5},
        {"dragan_weight": 10.0},
        {"lipschitz_weight": 10.0, "spectral_norm": True},
        {"packing": 3, "critic_steps": 2},
        {"spectral_norm": True, "clip_weights": 0.1},
    ],
    ids=str,
)
def test_every_loss_trains_with_every_option(kind: type[AdversarialGame], options: dict[str, Any]) -> None:
    before = dict(game(kind, **options).named_parameters())
    after = dict(trained(game(kind, **options)).named_parameters())
    assert all(weight.isfinite().all() for weight in after.values())
    same = {name for name in before if torch.equal(before[name], after[name])}
    # The offset of the critic's logits is free in some of these games.
    assert same <= {"critic.head.linear.bias"}


@pytest.mark.parametrize(
    ("kind", "critic_side", "generator_side"),
    [
        (NonSaturating, losses.non_saturating_critic, losses.non_saturating_generator),
        (Minimax, losses.non_saturating_critic, losses.minimax_generator),
        (LeastSquares, losses.least_squares_critic, losses.least_squares_generator),
        (Hinge, losses.hinge_critic, losses.hinge_generator),
        (Wasserstein, losses.wasserstein_critic, losses.wasserstein_generator),
    ],
)
def test_losses_are_those_of_the_critics_logits(kind: Any, critic_side: Any, generator_side: Any) -> None:
    objective, rows = game(kind), batch()
    torch.manual_seed(5)
    loss = objective.critic_loss(rows)
    torch.manual_seed(5)
    fake = objective.model.sample(12)
    real_logits, fake_logits = objective.critic(rows.x), objective.critic(fake)
    torch.testing.assert_close(loss.value, critic_side(real_logits, fake_logits))
    torch.testing.assert_close(loss.terms["accuracy"], (real_logits > fake_logits).float().mean())
    torch.manual_seed(5)
    torch.testing.assert_close(objective.generator_loss(rows).value, generator_side(fake_logits))


def test_the_pairing_loss_sees_both_sides_and_both_penalties() -> None:
    objective, rows = game(Relativistic, r1_weight=3.0, r2_weight=5.0), batch()
    torch.manual_seed(5)
    loss = objective.critic_loss(rows)
    torch.manual_seed(5)
    fake = objective.model.sample(12).detach().requires_grad_()
    real = rows.x.clone().requires_grad_()
    real_logits, fake_logits = objective.critic(real), objective.critic(fake)

    def squared(logits: Tensor, x: Tensor) -> Tensor:
        return torch.autograd.grad(logits.sum(), x, retain_graph=True)[0].square().sum(1).mean()

    torch.testing.assert_close(loss.terms["r1"], 1.5 * squared(real_logits, real))
    torch.testing.assert_close(loss.terms["r2"], 2.5 * squared(fake_logits, fake))
    expected = losses.relativistic_critic(real_logits, fake_logits) + loss.terms["r1"] + loss.terms["r2"]
    torch.testing.assert_close(loss.value, expected)
    torch.manual_seed(5)
    expected = losses.relativistic_generator(real_logits, fake_logits)
    torch.testing.assert_close(objective.generator_loss(rows).value, expected)
    assert not rows.x.requires_grad  # a loss leaves the batch as it was


def test_penalties_of_slopes_are_taken_where_their_papers_say() -> None:
    objective, rows = game(NonSaturating, lipschitz_weight=3.0, dragan_weight=5.0), batch()
    torch.manual_seed(5)
    terms = objective.critic_loss(rows).terms
    torch.manual_seed(5)
    between = penalties.interpolated(rows.x, objective.model.sample(12))
    around = penalties.perturbed(rows.x)
    torch.testing.assert_close(
        terms["lipschitz"], 3 * penalties.one_centred_penalty(objective.critic, between)
    )
    torch.testing.assert_close(terms["dragan"], 5 * penalties.one_centred_penalty(objective.critic, around))


class Halved(nn.Module):
    """An augmentation whose effect is known."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        return x / 2

    def statistics(self, margin: Tensor, samples_seen: int) -> dict[str, Tensor]:
        return {}


def test_all_that_the_critic_sees_is_augmented() -> None:
    """Were the made rows not, the generator would learn to make augmented ones (Karras et al. 2020)."""
    objective, rows = game(NonSaturating, r2_weight=2.0, lipschitz_weight=3.0), batch()
    objective.augmentation = Halved()  # pyright: ignore[reportAttributeAccessIssue]
    torch.manual_seed(5)
    terms = objective.critic_loss(rows)
    torch.manual_seed(5)
    fake = objective.model.sample(12).detach().requires_grad_()
    between = penalties.interpolated(rows.x, fake)

    def judged(x: Tensor) -> Tensor:
        return objective.critic(x / 2)

    (slope,) = torch.autograd.grad(judged(fake).sum(), fake)
    value = losses.non_saturating_critic(judged(rows.x), judged(fake))
    r2, lipschitz = slope.square().sum(1).mean(), 3 * penalties.one_centred_penalty(judged, between)
    torch.testing.assert_close(terms.terms["r2"], r2)
    torch.testing.assert_close(terms.terms["lipschitz"], lipschitz)
    torch.testing.assert_close(terms.value, value + r2 + lipschitz)
    torch.manual_seed(5)
    expected = losses.non_saturating_generator(judged(fake))
    torch.testing.assert_close(objective.generator_loss(rows).value, expected)


def test_the_weights_of_penalties_follow_their_schedules() -> None:
    falling = gv.schedule.Linear(from_=2.0, to=0.5, samples=1_000)
    names = ("r1", "r2", "lipschitz", "dragan")
    objective, rows = game(Relativistic, **{f"{name}_weight": falling for name in names}), batch()

    def terms(samples_seen: int) -> dict[str, Tensor]:
        torch.manual_seed(5)
        return objective.critic_loss(dataclasses.replace(rows, samples_seen=samples_seen)).terms

    first, later = terms(0), terms(1_000)
    for name in names:
        torch.testing.assert_close(later[name], first[name] / 4)
    with pytest.raises(gv.ConfigurationError, match="samples"):
        game(Relativistic, r1_weight=gv.schedule.Linear())


class NothingFromNumbers(TorchFunctionMode):
    """Refuses a tensor that is made from a number, which on an accelerator would make the step wait."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.tensor
        return func(*args, **(kwargs or {}))


def test_what_the_augmentation_follows_is_filled_on_the_device() -> None:
    data = gv.DataSpec((1, 8, 8), (0.0, 1.0), "image")
    model = gv.Model(gv.MLPGenerator([2], data.shape, hidden=(8,)), gv.StandardNormal([2]), gv.Point())
    objective = NonSaturating(
        model, data, lambda told: gv.MLPCritic(told, hidden=(8,)), augmentation_target=0.6
    )
    rows = gv.Batch(torch.rand(4, *data.shape), None, None, torch.arange(4), 2**40 + 1)
    with NothingFromNumbers():
        seen = objective.critic_loss(rows).statistics[SAMPLES_SEEN]
    assert (seen.dtype, seen.item()) == (torch.float64, 2**40 + 1)


def test_papers_own_settings_hold_unless_others_are_given() -> None:
    assert game(Wasserstein).critic_steps == game(WassersteinPenalised).critic_steps == 5
    assert game(NonSaturating).critic_steps == game(Wasserstein, critic_steps=1).critic_steps == 1
    assert game(WassersteinPenalised).penalties.lipschitz == 10
    assert game(WassersteinPenalised, lipschitz_weight=0.0).penalties.lipschitz == 0
    assert game(Relativistic).penalties.r1 == game(Relativistic).penalties.r2 == 1


def test_a_clipped_critic_stays_within_its_bounds() -> None:
    objective = trained(game(Wasserstein))
    assert max(weight.abs().max().item() for weight in objective.critic.parameters()) == pytest.approx(0.01)
    assert max(weight.abs().max().item() for weight in objective.model.generator.parameters()) > 0.01


def test_spectral_norm_makes_the_largest_singular_value_one() -> None:
    objective = trained(game(Hinge, spectral_norm=True), steps=40).eval()
    for module in objective.critic.modules():
        if isinstance(module, torch.nn.Linear):
            assert torch.linalg.matrix_norm(module.weight, 2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "layer", [nn.Conv1d(3, 4, 2), nn.Conv2d(3, 4, 2), nn.ConvTranspose2d(3, 4, 2)], ids=str
)
def test_spectral_norm_takes_every_convolution(layer: nn.Module) -> None:
    class Convolving(gv.Critic):
        def __init__(self) -> None:
            super().__init__()
            self.feature_size, self.layer, self.head = 1, layer, nn.Linear(1, 1)

        def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
            return x[:, :1]

        def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
            return self.head(self.features(x, condition)).squeeze(1)

    model = gv.Model(gv.MLPGenerator([2], [3], hidden=(8,)), gv.StandardNormal([2]), gv.Point())
    objective = Hinge(model, SPEC, lambda data: Convolving(), spectral_norm=True)
    normalised = [name for name, _ in objective.critic.named_parameters() if name.endswith("original")]
    assert len(normalised) == 2


def test_packs_hold_consecutive_rows_side_by_side() -> None:
    images = torch.arange(7 * 2 * 3 * 3.0).reshape(7, 2, 3, 3)
    pack = packed(images, 3)
    assert pack.shape == (2, 6, 3, 3)
    assert torch.equal(pack[1], torch.cat([images[3], images[4], images[5]]))
    spec = packed_spec(gv.DataSpec((2, 3, 3), condition=(10,)), 3)
    assert (spec.shape, spec.condition) == ((6, 3, 3), (30,))
    assert game(packing=2).phases()[0].couples_rows


@pytest.mark.parametrize("condition", [None, (3,)])
def test_packs_of_colour_images_with_labels_or_without_are_judged_by_dcgan(
    condition: tuple[int, ...] | None,
) -> None:
    """PacDCGAN2 on stacked MNIST: two images of three channels are one of six, with two labels."""
    spec = gv.DataSpec((3, 8, 8), (0.0, 1.0), "image", condition)
    model = gv.Model(
        DCGANGenerator([2], spec.shape, condition, filters=4), gv.StandardNormal([2]), gv.Point(spec)
    )
    objective = NonSaturating(
        model, spec, lambda data: DCGANCritic(data, data.condition, filters=4), packing=2
    )
    x = torch.rand(8, 3, 8, 8)
    labels = None if condition is None else torch.eye(3)[torch.arange(8) % 3]
    assert objective.critic_loss(gv.Batch(x, labels, None, torch.arange(8), 0)).value.isfinite()
    first = objective.critic.eval()(packed(x, 2), None if labels is None else packed(labels, 2))
    other = objective.critic(packed(x.roll(1, 0), 2), None if labels is None else packed(labels, 2))
    assert first.shape == (4,)
    assert not torch.allclose(first, other)


def test_a_batch_that_does_not_make_one_pack_is_refused() -> None:
    with pytest.raises(gv.ConfigurationError, match="8 rows make a pack, and a step has 5"):
        game(packing=8).critic_loss(batch(5))


def test_a_penalty_refuses_a_critic_whose_batch_norm_ties_rows_together() -> None:
    spec = gv.DataSpec((1, 8, 8), modality="image")
    model = gv.Model(gv.MLPGenerator([2], [1, 8, 8]), gv.StandardNormal([2]), gv.Point(spec))
    with pytest.raises(gv.ConfigurationError, match=r"batch norm"):
        Relativistic(model, spec, lambda data: DCGANCritic(data, filters=4))
    Relativistic(model, spec, lambda data: DCGANCritic(data, filters=4, batch_norm=False))


@pytest.mark.parametrize("options", [{"critic_steps": 0}, {"packing": 0}, {"r1_weight": -1.0}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(gv.ConfigurationError):
        game(**options)


def test_generated_rows_are_hidden_where_the_real_ones_are() -> None:
    objective, rows = game(Relativistic), batch()
    mask = torch.rand(rows.x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    judged = objective._rows(dataclasses.replace(rows, x=rows.x * mask, mask=mask))
    assert (judged.fake[~mask] == 0).all()
    assert (judged.fake[mask] != 0).all()
