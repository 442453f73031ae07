"""The adversarial losses against their formulas, written out naively in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ganvae_core import losses


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(3 * torch.randn(2, 50, generator=generator, dtype=torch.float64))


def test_non_saturating_critic_is_binary_cross_entropy_of_real_against_fake(
    logits: tuple[Tensor, Tensor],
) -> None:
    real, fake = logits
    both = torch.cat([real, fake])
    target = torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    expected = 2 * F.binary_cross_entropy(both.sigmoid(), target)
    torch.testing.assert_close(losses.non_saturating_critic(real, fake), expected)


def test_generator_losses_equal_their_formulas(logits: tuple[Tensor, Tensor]) -> None:
    _, fake = logits
    probability = 1 / (1 + (-fake).exp())
    torch.testing.assert_close(losses.non_saturating_generator(fake), -probability.log().mean())
    torch.testing.assert_close(losses.minimax_generator(fake), (1 - probability).log().mean())
    torch.testing.assert_close(losses.hinge_generator(fake), -fake.mean())


def test_hinge_critic_equals_its_formula(logits: tuple[Tensor, Tensor]) -> None:
    real, fake = logits
    expected = sum(max(0.0, 1 - value) for value in real.tolist()) / len(real)
    expected += sum(max(0.0, 1 + value) for value in fake.tolist()) / len(fake)
    assert losses.hinge_critic(real, fake).item() == pytest.approx(expected, rel=1e-12)


def test_an_undecided_critic_has_known_losses() -> None:
    undecided = torch.zeros(4, dtype=torch.float64)
    assert losses.non_saturating_critic(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert losses.non_saturating_generator(undecided).item() == pytest.approx(math.log(2))
    assert losses.minimax_generator(undecided).item() == pytest.approx(-math.log(2))
    assert losses.hinge_critic(undecided, undecided).item() == 2


def test_critic_losses_average_real_and_fake_apart() -> None:
    real, fake = torch.full((3,), -1.0), torch.full((100,), 2.0)
    assert losses.hinge_critic(real, fake).item() == pytest.approx(2 + 3)


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_losses_and_gradients_stay_finite_for_extreme_logits_in_single_precision(size: float) -> None:
    real, fake = (
        torch.tensor([-size, size], requires_grad=True),
        torch.tensor([size, -size], requires_grad=True),
    )
    for loss in (
        losses.non_saturating_critic(real, fake),
        losses.non_saturating_generator(fake),
        losses.minimax_generator(fake),
        losses.hinge_critic(real, fake),
    ):
        assert loss.isfinite()
        (gradient,) = torch.autograd.grad(loss, fake)
        assert gradient.isfinite().all()


def test_minimax_saturates_where_the_non_saturating_loss_does_not() -> None:
    rejected = torch.tensor([-20.0], requires_grad=True)
    (saturating,) = torch.autograd.grad(losses.minimax_generator(rejected), rejected)
    (non_saturating,) = torch.autograd.grad(losses.non_saturating_generator(rejected), rejected)
    assert -1e-8 < saturating.item() < 0  # both push logits up
    assert non_saturating.item() == pytest.approx(-1)


def test_gradients_agree_with_finite_differences(logits: tuple[Tensor, Tensor]) -> None:
    real, fake = (values[:5].clone().requires_grad_() for values in logits)
    assert torch.autograd.gradcheck(losses.non_saturating_critic, (real, fake))
    assert torch.autograd.gradcheck(losses.non_saturating_generator, (fake,))
    assert torch.autograd.gradcheck(losses.minimax_generator, (fake,))
    assert torch.autograd.gradcheck(losses.hinge_critic, (real, fake))


def test_least_squares_and_wasserstein_equal_their_formulas(logits: tuple[Tensor, Tensor]) -> None:
    real, fake = logits
    expected = 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()
    torch.testing.assert_close(losses.least_squares_critic(real, fake), expected)
    torch.testing.assert_close(losses.least_squares_generator(fake), 0.5 * ((fake - 1) ** 2).mean())
    torch.testing.assert_close(losses.wasserstein_critic(real, fake), fake.mean() - real.mean())
    torch.testing.assert_close(losses.wasserstein_generator(fake), -fake.mean())


def test_the_pairing_loss_equals_its_definition(logits: tuple[Tensor, Tensor]) -> None:
    real, fake = logits
    torch.testing.assert_close(losses.relativistic_critic(real, fake), -(real - fake).sigmoid().log().mean())
    torch.testing.assert_close(
        losses.relativistic_generator(real, fake), -(fake - real).sigmoid().log().mean()
    )
    # Its offset is free: moving both sides changes nothing.
    torch.testing.assert_close(
        losses.relativistic_critic(real + 5, fake + 5), losses.relativistic_critic(real, fake)
    )


def smooth_critic(x: Tensor) -> Tensor:
    return (x.flatten(1) * torch.arange(1.0, 7.0, dtype=x.dtype)).tanh().sum(1) + x.flatten(1)[:, 0] ** 2


def test_gradient_penalties_agree_with_finite_differences() -> None:
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-6
    gradient = torch.zeros_like(x)
    for position in range(6):
        offset = torch.zeros(6, dtype=torch.float64)
        offset[position] = step
        moved = offset.reshape(2, 3)
        gradient.reshape(4, 6)[:, position] = (smooth_critic(x + moved) - smooth_critic(x - moved)) / (
            2 * step
        )
    squared = gradient.flatten(1).square().sum(1)
    watched = x.clone().requires_grad_()
    torch.testing.assert_close(
        losses.squared_gradient_norm(smooth_critic(watched), watched), squared, rtol=1e-7, atol=1e-8
    )
    expected = (squared.sqrt() - 1).square().mean()
    torch.testing.assert_close(losses.one_centred_penalty(smooth_critic, x), expected, rtol=1e-7, atol=1e-8)


def test_a_penalty_where_the_gradient_vanishes_has_finite_gradients() -> None:
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    penalty = losses.one_centred_penalty(lambda x: x @ weight, torch.ones(4, 3, dtype=torch.float64))
    penalty.backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_interpolated_rows_lie_between_their_pair_and_perturbed_ones_near_the_real() -> None:
    torch.manual_seed(0)
    real, fake = torch.zeros(50, 2, 3), torch.ones(50, 2, 3)
    between = losses.interpolated(real, fake)
    assert ((between >= 0) & (between <= 1)).all()
    assert (between.flatten(1).std(1) < 1e-6).all()  # one share a row
    assert between.flatten(1)[:, 0].std() > 0.2
    real = torch.randn(500, 4)
    moved = losses.perturbed(real) - real
    assert (moved >= 0).all()
    assert (moved <= 0.5 * real.std()).all()
