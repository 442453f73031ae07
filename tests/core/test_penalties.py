"""The penalties on a critic's gradient against finite differences, and spectral normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import ganvae_core as gv
from ganvae_core import penalties


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
        penalties.squared_gradient_norm(smooth_critic(watched), watched), squared, rtol=1e-7, atol=1e-8
    )
    expected = (squared.sqrt() - 1).square().mean()
    torch.testing.assert_close(
        penalties.one_centred_penalty(smooth_critic, x), expected, rtol=1e-7, atol=1e-8
    )
    for penalty in (penalties.r1, penalties.r2):
        half = penalty(smooth_critic(watched), watched)
        torch.testing.assert_close(half, squared.mean() / 2, rtol=1e-7, atol=1e-8)


def test_a_penalty_where_the_gradient_vanishes_has_finite_gradients() -> None:
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    penalty = penalties.one_centred_penalty(lambda x: x @ weight, torch.ones(4, 3, dtype=torch.float64))
    penalty.backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_interpolated_rows_lie_between_their_pair_and_perturbed_ones_near_the_real() -> None:
    torch.manual_seed(0)
    real, fake = torch.zeros(50, 2, 3), torch.ones(50, 2, 3)
    between = penalties.interpolated(real, fake)
    assert ((between >= 0) & (between <= 1)).all()
    assert (between.flatten(1).std(1) < 1e-6).all()  # one share a row
    assert between.flatten(1)[:, 0].std() > 0.2
    real = torch.randn(500, 4)
    moved = penalties.perturbed(real) - real
    assert (moved >= 0).all()
    assert (moved <= 0.5 * real.std()).all()


def test_the_penalties_of_the_papers_are_taken_where_they_say() -> None:
    real, fake = torch.zeros(50, 2, 3), torch.ones(50, 2, 3)
    judged: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        judged.append(x.detach())
        return 3 * x.flatten(1)[:, 0]  # a slope of 3, so that (3 - 1)² is the penalty

    torch.manual_seed(0)
    assert penalties.gradient_penalty(critic, real, fake).item() == pytest.approx(4)
    assert penalties.dragan(critic, 4 * fake).item() == pytest.approx(4)
    between, around = judged
    assert ((between > 0) & (between < 1)).all()
    assert torch.equal(around, 4 * fake), "rows that are all alike have no deviation"


def test_spectral_normalisation_bounds_every_layers_largest_singular_value() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.ConvTranspose1d(2, 3, 1), nn.BatchNorm1d(3))
    nn.init.normal_(network[0].weight, 0.0, 3.0)  # pyright: ignore
    direction = network[0].weight.detach() / torch.linalg.matrix_norm(network[0].weight, 2)  # pyright: ignore
    gv.normalise_spectrally(network)
    for _ in range(50):
        network[0](torch.randn(2, 6))  # each forward is one step of the power iteration
    torch.testing.assert_close(network[0].weight, direction, rtol=1e-3, atol=1e-4)
    assert hasattr(network[2], "parametrizations")
    assert not hasattr(network[3], "parametrizations")
