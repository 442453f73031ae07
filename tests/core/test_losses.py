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
