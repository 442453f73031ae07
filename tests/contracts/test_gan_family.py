"""Rotations, codes, pairs, conditions, augmentation: what makes the members of the GAN family, against its papers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gan_losses import EVERY_LOSS
from ganvae_dcgan.networks import DCGANCritic, DCGANGenerator
from ganvae_gan.code_grid import code_grid
from ganvae_gan.information import Information
from ganvae_gan.objective import (
    AdversarialGame,
    BiGAN,
    Hinge,
    NonSaturating,
    Relativistic,
    Wasserstein,
    WassersteinPenalised,
)
from ganvae_gan.rotation import Rotation, rotated
from ganvae_gan.rows import Rows
from torch.nn import functional as F

import ganvae_core as gv
from ganvae_core.builtin.augmentation import (
    MOST_STRENGTH,
    OVERFITTING,
    SAMPLES_SEEN,
    AdaptiveAugmentation,
    _interpolated,
    _recoloured,
)

IMAGES = gv.DataSpec((1, 8, 8), (0.0, 1.0), "image")
LABELLED = gv.DataSpec((1, 8, 8), (0.0, 1.0), "image", (3,), classes=("a", "b", "c"))


def images(count: int = 12) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def coded_prior() -> gv.Composite:
    return gv.Composite([6], parts=[gv.StandardNormal([1]), gv.Categorical([3]), gv.Uniform([2])])


def game(
    kind: type[AdversarialGame] = NonSaturating,
    data: gv.DataSpec = IMAGES,
    prior: gv.LatentPrior | None = None,
    critic: Any = None,
    *,
    encodes: bool = False,
    **options: Any,
) -> AdversarialGame:
    torch.manual_seed(0)
    prior = prior or gv.StandardNormal([4])
    latent = tuple(prior.sample(1).shape[1:])
    model = gv.Model(
        gv.MLPGenerator(latent, data.shape, data.condition, hidden=(16,)),
        prior,
        gv.Point(data),
        gv.MLPEncoder(data, latent, data.condition, hidden=(16,), posterior="dirac") if encodes else None,
        conditions=None if data.condition is None else torch.eye(data.condition[0]),
    )
    make = critic or (lambda data: gv.MLPCritic(data, data.condition, hidden=(16,)))
    return kind(model, data, make, **options)


def batch(condition: torch.Tensor | None = None) -> gv.Batch:
    return gv.Batch(images(), condition, None, torch.arange(12), 0)


def trained(objective: AdversarialGame, data: gv.DataSpec, steps: int = 3) -> gv.Engine:
    labels = np.arange(40) % 3 if data.condition else None
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    split = gv.split(gv.as_source(pixels, labels), conditional=data.condition is not None)
    settings = gv.EngineSettings(steps=steps, batch_size=12, device="cpu", precision="fp32")
    return gv.Engine(objective, split, settings).fit()


# Rotations: SSGAN.


def test_each_image_is_turned_by_its_own_number_of_quarters() -> None:
    x, turns = images(4), torch.tensor([0, 1, 2, 3])
    made = rotated(x, turns)
    for row, quarter in enumerate(turns.tolist()):
        assert torch.equal(made[row], torch.rot90(x[row], quarter, (1, 2)))


def test_the_rotation_task_is_a_cross_entropy_on_real_and_on_generated_images() -> None:
    critic = gv.MLPCritic(IMAGES, hidden=(16,))
    task = Rotation(IMAGES, critic, weight=2.0)
    torch.nn.init.zeros_(task.head.weight), torch.nn.init.zeros_(task.head.bias)
    rows = Rows(images(), None, images(), None, torch.zeros(12, 4))
    assert task.critic_term(rows).item() == pytest.approx(2.0 * math.log(4))
    assert task.generator_term(rows).item() == pytest.approx(0.2 * 2.0 * math.log(4))
    with torch.no_grad():  # a head that is sure of no turn at all is wrong three times out of four
        task.head.bias[0] = 50.0
    torch.manual_seed(0)
    turns = torch.randint(4, (12,))
    torch.manual_seed(0)
    expected = 2.0 * 50.0 * (turns != 0).float().mean().item()
    assert task.critic_term(rows).item() == pytest.approx(expected, rel=1e-4)


def test_the_critic_learns_rotations_from_real_images_and_the_generator_from_its_own() -> None:
    objective = game(rotation_weight=1.0)
    objective.critic_loss(batch()).value.backward()
    head = objective.tasks["rotation"].head
    assert head.weight.grad is not None
    assert objective.critic_loss(batch()).terms["rotation"].item() > 0
    objective.zero_grad()
    torch.manual_seed(5)
    loss = objective.generator_loss(batch())
    plain = game()
    torch.manual_seed(5)
    plain = plain.generator_loss(batch())
    assert (loss.value - loss.terms["rotation"]).item() == pytest.approx(plain.value.item(), rel=1e-4)
    assert (
        trained(game(Hinge, rotation_weight=1.0, spectral_norm=True), IMAGES).model.sample(2).isfinite().all()
    )


@pytest.mark.parametrize(
    "data", [gv.DataSpec((3,), None, "table"), gv.DataSpec((1, 8, 10), (0.0, 1.0), "image")]
)
def test_rotations_are_of_square_images(data: gv.DataSpec) -> None:
    with pytest.raises(gv.ConfigurationError, match="square images"):
        game(data=data, rotation_weight=1.0)


# Codes: InfoGAN.


def test_the_information_term_has_its_closed_form_for_a_head_that_knows_nothing() -> None:
    prior, critic = coded_prior(), gv.MLPCritic(IMAGES, hidden=(16,))
    task = Information(prior, critic, weight=3.0)
    for parameter in task.head[2].parameters():
        torch.nn.init.zeros_(parameter)
    torch.manual_seed(0)
    codes = prior.sample(12)
    continuous = prior.split(codes)[2]
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(continuous).sum(1).mean()
    rows = Rows(images(), None, images(), None, codes)
    expected = 3.0 * math.log(3) - 3.0 * normal.item()
    assert task.critic_term(rows).item() == pytest.approx(expected, rel=1e-5)
    assert task.generator_term(rows).item() == pytest.approx(expected, rel=1e-5)
    guesses = task.guesses(images())
    assert torch.allclose(guesses[1], torch.full((12, 3), 1 / 3))
    assert torch.equal(guesses[2], torch.zeros(12, 2))
    assert set(guesses) == {1, 2}, "the noise is no code"


@pytest.mark.parametrize(
    "part",
    [gv.Mixture([2], components=3), gv.Composite([5], parts=[gv.Categorical([2]), gv.Categorical([3])])],
)
def test_a_code_has_one_distribution_which_training_does_not_move(part: gv.LatentPrior) -> None:
    size = math.prod(part.latent_shape)
    prior = gv.Composite([1 + size], parts=[gv.StandardNormal([1]), part], meaning=(False, True))
    with pytest.raises(gv.ConfigurationError, match=f"{type(part).__name__} cannot be a code"):
        game(prior=prior, information_weight=1.0)


def test_a_critic_that_is_told_the_codes_is_not_asked_for_them() -> None:
    with pytest.raises(gv.ConfigurationError, match="given the codes"):
        game(BiGAN, prior=coded_prior(), encodes=True, information_weight=1.0)


def test_generator_and_critic_both_learn_to_keep_the_codes() -> None:
    objective = game(prior=coded_prior(), information_weight=1.0)
    objective.critic.requires_grad_(False)
    objective.generator_loss(batch()).terms["information"].backward()
    assert all(parameter.grad is not None for parameter in objective.model.generator.parameters())
    engine = trained(game(prior=coded_prior(), information_weight=1.0), IMAGES, steps=200)
    first = game(prior=coded_prior(), information_weight=1.0)
    torch.manual_seed(0)
    before = first.critic_loss(batch()).terms["information"].item()
    torch.manual_seed(0)
    after = engine.objective.critic_loss(batch()).terms["information"].item()
    assert after < before - 0.3, (before, after)


@pytest.mark.parametrize("prior", [gv.StandardNormal([4]), gv.Composite([4], parts=[gv.StandardNormal([4])])])
def test_codes_need_a_prior_that_has_some(prior: gv.LatentPrior) -> None:
    with pytest.raises(gv.ConfigurationError, match="codes beside the noise") as refused:
        game(prior=prior, information_weight=1.0)
    assert "prior=composite" in str(refused.value.hints)


def test_the_prior_says_which_parts_are_codes_and_which_are_noise(tmp_path: Path) -> None:
    """Uniform noise and a normal code, which the supports of the parts would take for the opposite."""
    parts = [
        {"name": "uniform", "latent_shape": [20]},
        {"name": "categorical", "latent_shape": [10]},
        {"name": "normal", "latent_shape": [2]},
    ]
    prior = {"name": "composite", "parts": parts, "meaning": [False, True, True]}
    run = gv.train(
        "infogan", steps=2, out=tmp_path / "run", overrides={"prior": prior, "engine.device": "cpu"}
    )
    pictures = sorted(path.name for path in (run.path / "codes").iterdir())
    assert pictures == ["step-000002-part-2.png", "step-000002-part-3.png"]
    made = gv.Composite([3], parts=[gv.Uniform([1]), gv.StandardNormal([2])], meaning=(False, True))
    task = Information(made, gv.MLPCritic(IMAGES, hidden=(16,)), weight=1.0)
    assert set(task.guesses(images())) == {1}


def test_a_code_changes_along_a_row_of_its_grid_and_nothing_else_does() -> None:
    model = game(prior=coded_prior()).model
    torch.manual_seed(0)
    made, headings = code_grid(model, 1, rows=4)
    assert made.shape == (12, 1, 8, 8)
    assert headings == ["0", "1", "2"]
    torch.manual_seed(0)
    prior = coded_prior()
    prior.parts[1].sample(1000)
    codes = prior.sample(4)
    for row in range(4):
        for column in range(3):
            code = codes[row].clone()
            code[1:4] = F.one_hot(torch.tensor(column), 3)
            assert torch.allclose(made[row * 3 + column], model.decode(code[None]).mean[0], atol=1e-6)
    continuous, headings = code_grid(model, 2, rows=4)
    assert (len(continuous), len(headings)) == (2 * 4 * 10, 10)
    assert (headings[0], headings[-1]) == ("2%", "98%")


def test_a_code_of_any_shape_has_a_grid() -> None:
    prior = gv.Composite([7], parts=[gv.StandardNormal([1]), gv.Uniform([2, 3])])
    made, headings = code_grid(game(prior=prior).model, 1, rows=2)
    assert (len(made), len(headings)) == (6 * 2 * 10, 10)


def test_a_run_with_codes_draws_a_picture_of_each(tmp_path: Path) -> None:
    run = gv.train("infogan", steps=3, out=tmp_path / "run", overrides={"engine.device": "cpu"})
    pictures = sorted(path.name for path in (run.path / "codes").iterdir())
    assert pictures == ["step-000003-part-2.png", "step-000003-part-3.png"]


# Pairs: BiGAN.


def test_pairs_are_of_a_row_and_its_code_on_both_sides() -> None:
    objective, rows = game(BiGAN, encodes=True), batch()
    pairs = objective._rows(rows)
    assert pairs.real_condition is not None
    torch.testing.assert_close(pairs.real_condition, objective.model.encode(rows.x).mean)
    assert pairs.fake_condition is not None
    torch.testing.assert_close(pairs.fake, objective.model.decode(pairs.fake_condition).mean)
    model = objective.model
    model.encoder = gv.MLPEncoder(IMAGES, (4,), hidden=(16,))  # a posterior with a variance: ALI
    first, second = (objective._rows(rows).real_condition for _ in range(2))
    assert first is not None
    assert second is not None
    assert not torch.allclose(first, second)  # draws, not means


def test_a_critic_of_pairs_is_told_codes_and_judged_from_both_sides() -> None:
    objective = game(BiGAN, encodes=True)
    real, fake = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    critic = F.softplus(-real).mean() + F.softplus(fake).mean()
    generator = F.softplus(real).mean() + F.softplus(-fake).mean()
    assert objective.critic_value(real, fake).item() == pytest.approx(critic.item())
    assert objective.generator_value(real, fake).item() == pytest.approx(generator.item())
    assert objective.critic.inputs.condition_shape == (4,)
    objective.generator_loss(batch()).value.backward()
    assert objective.model.encoder is not None
    for side in (objective.model.encoder, objective.model.generator):
        assert all(parameter.grad is not None for parameter in side.parameters())


def test_bigan_moves_both_sides_and_then_encodes_and_reconstructs() -> None:
    objective = game(BiGAN, LABELLED, encodes=True)
    before = {name: value.clone() for name, value in objective.named_parameters()}
    engine = trained(objective, LABELLED)
    moved = {name for name, value in objective.named_parameters() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"model", "critic"}
    assert {"model.encoder.head.weight", "model.generator.head.weight"} <= moved
    condition = torch.eye(3).repeat(4, 1)
    assert engine.model.encode(images(), condition).mean.shape == (12, 4)
    assert engine.model.reconstruct(images(), condition).shape == (12, 1, 8, 8)


# Conditions: cGAN.


@pytest.mark.parametrize("kind", EVERY_LOSS)
@pytest.mark.parametrize("conditioning", ["concatenation", "projection"])
@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_every_loss_trains_with_labels_in_either_way(kind: Any, conditioning: str, network: str) -> None:
    def critic(data: gv.DataSpec) -> gv.Critic:
        if network == "mlp":
            return gv.MLPCritic(data, data.condition, hidden=(16,), conditioning=conditioning)
        return DCGANCritic(data, data.condition, filters=4, batch_norm=False, conditioning=conditioning)

    objective = game(kind, LABELLED, critic=critic)
    condition = torch.eye(3).repeat(4, 1)
    judged = objective.critic.eval()(images(), condition)
    assert not torch.allclose(judged, objective.critic(images(), condition.roll(1, 1)))
    if network == "dcgan":
        objective.model.generator = DCGANGenerator((4,), (1, 8, 8), (3,), filters=4)
    engine = trained(objective.train(), LABELLED)
    made = engine.model.sample(12, condition)
    assert made.isfinite().all()


def test_projection_holds_the_condition_against_the_features() -> None:
    head = gv.CriticHead(5, (3,))
    features, condition = torch.randn(7, 5), torch.randn(7, 3)
    assert head.projection is not None
    by_hand = features @ head.linear.weight[0] + head.linear.bias
    by_hand = by_hand + torch.einsum("bf,fk,bk->b", features, head.projection.weight, condition)
    assert torch.allclose(head(features, condition), by_hand, atol=1e-6)
    assert gv.CriticHead(5)(features).shape == (7,)


# Adaptive augmentation.


def strong(data: gv.DataSpec = IMAGES) -> AdaptiveAugmentation:
    made = AdaptiveAugmentation(data, 0.6)
    made.strength.fill_(MOST_STRENGTH)
    return made


@pytest.mark.usefixtures("float64")
def test_augmentation_without_strength_changes_nothing() -> None:
    assert torch.allclose(AdaptiveAugmentation(IMAGES, 0.6)(images()), images(), rtol=0, atol=1e-12)


def test_augmentation_moves_and_recolours_about_as_many_images_as_its_strength_says() -> None:
    torch.manual_seed(0)
    x = images(4000)
    changed = ((strong()(x) - x).abs().flatten(1).amax(1) > 1e-4).float().mean()
    # Six operations, each with probability 0.8: 0.2 ** 6 of the images stay as they are.
    assert changed > 0.99
    weak = AdaptiveAugmentation(IMAGES, 0.6)
    weak.strength.fill_(0.01)
    changed = ((weak(x) - x).abs().flatten(1).amax(1) > 1e-4).float().mean().item()
    expected = 1 - 0.99**6
    # Five standard errors: a false alarm in two million runs, and the seed is fixed.
    assert abs(changed - expected) < 5 * math.sqrt(expected * (1 - expected) / 4000)


def test_places_between_pixels_are_interpolated_as_grid_sample_does() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 2, 6, 9, generator=generator)
    y_at = torch.rand(3, 6, 9, generator=generator) * 5
    x_at = torch.rand(3, 6, 9, generator=generator) * 8
    grid = torch.stack([x_at / 8 * 2 - 1, y_at / 5 * 2 - 1], dim=-1)
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=True)
    assert torch.allclose(_interpolated(x, y_at, x_at), expected, atol=1e-5)


def test_brightness_and_contrast_have_the_deviations_of_the_paper() -> None:
    """0.2 for images in [-1, 1], so a tenth of any range, and half an octave of contrast around the middle."""
    torch.manual_seed(0)
    x = torch.tensor([0.4, 0.6]).reshape(1, 1, 1, 2).expand(4000, -1, -1, -1)
    made = _recoloured(x, torch.tensor(1.0), 0.0, 1.0).reshape(4000, 2)
    brightness, contrast = made.mean(1) - 0.5, ((made[:, 1] - made[:, 0]) / 0.2).log2()
    for drawn, deviation in ((brightness, 0.1), (contrast, 0.5)):  # five standard errors each
        assert abs(drawn.mean().item()) < 5 * deviation / math.sqrt(4000)
        assert abs(drawn.std().item() - deviation) < 5 * deviation / math.sqrt(8000)


def test_augmentation_can_be_differentiated_twice() -> None:
    augmentation = strong().double()
    x = images(2).double().requires_grad_()

    def squared(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return augmentation(x).square().sum((1, 2, 3))

    assert torch.autograd.gradcheck(squared, x)
    assert torch.autograd.gradgradcheck(squared, x)


def test_the_strength_follows_the_sign_of_the_real_logits() -> None:
    augmentation = AdaptiveAugmentation(IMAGES, 0.6)

    def adapt(sign: float, seen: float) -> float:
        augmentation.adapt({OVERFITTING: torch.tensor(sign), SAMPLES_SEEN: torch.tensor(seen).double()})
        return augmentation.strength.item()

    assert adapt(1.0, 0.0) == 0.0
    assert adapt(1.0, 50_000.0) == pytest.approx(0.1)
    assert adapt(0.7, 150_000.0) == pytest.approx(0.3)
    assert adapt(0.5, 200_000.0) == pytest.approx(0.2)
    assert adapt(0.9, 10_000_000.0) == pytest.approx(MOST_STRENGTH)


@pytest.mark.parametrize("kind", [NonSaturating, Relativistic])
def test_adaptive_augmentation_trains_and_its_strength_is_part_of_the_state(kind: Any) -> None:
    objective = game(kind, augmentation_target=-0.9)
    engine = trained(objective, IMAGES, steps=4)
    assert objective.augmentation is not None
    # The mean sign of an even critic is above -0.9 from the first step, at which no row had been seen yet.
    assert objective.augmentation.strength.item() == pytest.approx(3 * 12 / 500_000)
    assert "augmentation.strength" in objective.state_dict()
    assert engine.model.sample(2).isfinite().all()


@pytest.mark.parametrize("kind", [Relativistic, Wasserstein, WassersteinPenalised])
def test_a_shift_invariant_critic_is_judged_by_its_margin(kind: Any) -> None:
    objective = game(kind, augmentation_target=0.0)
    shifted = game(kind, augmentation_target=0.0)
    with torch.no_grad():
        shifted.critic.head.linear.bias += 100.0
    for one in (objective, shifted):
        torch.manual_seed(3)
        one.seen = one.critic_loss(batch()).statistics[OVERFITTING].item()
    assert objective.seen == shifted.seen
    assert abs(objective.seen) < 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"augmentation_target": 0.6, "data": gv.DataSpec((3,), None, "table")}, "only images"),
        ({"augmentation_target": 1.5}, "above -1 and below 1"),
        ({"rotation_weight": 1.0, "packing": 2}, "packing"),
        ({"rotation_weight": -1.0}, "must be at least 0"),
    ],
)
def test_impossible_options_of_the_family_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(gv.ConfigurationError, match=said):
        game(**options)


def test_tasks_store_no_weight_twice() -> None:
    objective = game(prior=coded_prior(), information_weight=1.0, rotation_weight=1.0)
    names = [name for name in objective.state_dict() if name.startswith("tasks.")]
    assert names
    assert not [name for name in names if "critic" in name or "prior" in name]


@pytest.mark.parametrize("kind", EVERY_LOSS)
def test_a_critic_that_cannot_tell_is_not_taken_for_one_that_can(kind: type[AdversarialGame]) -> None:
    """Where real and generated rows are alike, ``neutral_logit`` is the best that a critic can put out."""
    objective = game(kind, augmentation_target=0.6)

    def value(logit: float) -> float:
        return objective.critic_value(torch.full((4,), logit), torch.full((4,), logit)).item()

    best = value(kind.neutral_logit)
    others = [value(logit) for logit in torch.linspace(-2, 2, 41).tolist()]
    assert all(other >= best - 1e-6 for other in others)
    if kind.shift_invariant:
        assert others == pytest.approx([best] * 41, abs=1e-6)
    logits = torch.full((4,), kind.neutral_logit)
    assert objective._statistics(logits, logits, batch())[OVERFITTING] == 0
