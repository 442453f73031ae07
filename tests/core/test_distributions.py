"""Posteriors and divergences against torch.distributions, quadrature and finite differences, in float64."""

from __future__ import annotations

from typing import ClassVar, final

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from ganvae_core.builtin.priors.continuous import StandardNormal
from ganvae_core.distributions import DiagonalNormal, Dirac, kl, register_kl
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import LatentPrior, Support

EVENTS = [(3,), (2, 3), (1, 4, 2), ()]


def some_normal(event: tuple[int, ...], rows: int = 4) -> tuple[DiagonalNormal, Independent]:
    """A posterior, and torch's own distribution with the same parameters."""
    generator = torch.Generator().manual_seed(1)
    location, log_variance = torch.randn(2, rows, *event, generator=generator, dtype=torch.float64)
    reference = Independent(Normal(location, (log_variance / 2).exp()), len(event))
    return DiagonalNormal(location, log_variance), reference


@final
class ShiftedNormal(LatentPrior):
    """N(shift + condition, I): a prior that nothing is registered for."""

    support: ClassVar[Support] = "real"

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        mean = self.shift if condition is None else self.shift + condition
        return Normal(mean, 1.0).log_prob(z).sum(1)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("draws", [(), (5,), (2, 5)])
def test_log_prob_of_a_diagonal_normal_is_torchs(event: tuple[int, ...], draws: tuple[int, ...]) -> None:
    posterior, reference = some_normal(event)
    z = posterior.rsample(draws)
    assert z.shape == (*draws, 4, *event)
    torch.testing.assert_close(posterior.log_prob(z), reference.log_prob(z))


@pytest.mark.parametrize("event", EVENTS)
def test_the_density_of_a_diagonal_normal_by_coordinate_is_torchs(event: tuple[int, ...]) -> None:
    posterior, reference = some_normal(event)
    z = posterior.rsample((5,))
    torch.testing.assert_close(posterior.coordinate_log_prob(z), reference.base_dist.log_prob(z))


def test_draws_of_a_diagonal_normal_have_its_mean_and_variance() -> None:
    torch.manual_seed(0)
    posterior, reference = some_normal((3,))
    count = 20_000
    standardised = (posterior.rsample((count,)) - reference.mean) / reference.variance.sqrt()
    # 24 averages at five standard errors: a correct sampler fails for fewer than 2 seeds in 100,000.
    assert (standardised.mean(0).abs() * count**0.5 < 5).all()
    assert ((standardised.square().mean(0) - 1).abs() * (count / 2) ** 0.5 < 5).all()


def test_draws_carry_the_gradient_of_the_reparameterisation() -> None:
    location = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    log_variance = torch.full((2, 3), 0.6, dtype=torch.float64, requires_grad=True)
    z = DiagonalNormal(location, log_variance).rsample()
    by_location, by_log_variance = torch.autograd.grad(z.sum(), (location, log_variance))
    torch.testing.assert_close(by_location, torch.ones_like(z))
    torch.testing.assert_close(by_log_variance, z.detach() / 2)


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_an_extreme_log_variance_stays_finite_and_is_pulled_back(extreme: float) -> None:
    location = torch.zeros(1, 1, requires_grad=True)
    log_variance = torch.full((1, 1), extreme, requires_grad=True)
    posterior = DiagonalNormal(location, log_variance)
    divergence = kl(posterior, StandardNormal([1]))
    (gradient,) = torch.autograd.grad(divergence.sum(), log_variance)
    assert posterior.rsample().isfinite().all()
    assert divergence.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient.sign().item() == (1 if extreme > 0 else -1)


def test_an_ordinary_log_variance_is_kept_to_the_bit() -> None:
    log_variance = torch.linspace(-19.9, 19.9, 100).reshape(10, 10)
    assert torch.equal(DiagonalNormal(torch.zeros(10, 10), log_variance).log_variance, log_variance)


@pytest.mark.parametrize("event", EVENTS[:3])
def test_kl_to_the_standard_normal_is_the_closed_form(event: tuple[int, ...]) -> None:
    posterior, reference = some_normal(event)
    zeros = torch.zeros(4, *event, dtype=torch.float64)
    expected = kl_divergence(reference, Independent(Normal(zeros, torch.ones_like(zeros)), len(event)))
    prior = StandardNormal(event)
    torch.testing.assert_close(kl(posterior, prior), expected)
    torch.testing.assert_close(kl(posterior, prior, z=zeros + 100), expected)  # no estimate from a draw


def test_kl_gradients_agree_with_finite_differences() -> None:
    posterior, _ = some_normal((3,))
    parameters = (posterior.location.requires_grad_(), posterior.log_variance.detach().requires_grad_())
    prior = StandardNormal([3])
    assert torch.autograd.gradcheck(lambda m, v: kl(DiagonalNormal(m, v), prior), parameters)


def test_kl_without_a_closed_form_is_one_unbiased_draw() -> None:
    torch.manual_seed(0)
    posterior, reference = some_normal((2,), rows=1)
    prior = ShiftedNormal(0.5)
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    exact = kl_divergence(reference, Independent(Normal(half, torch.ones_like(half)), 1))
    many = DiagonalNormal(posterior.location.expand(20_000, 2), posterior.log_variance.expand(20_000, 2))
    estimates = kl(many, prior)
    # At five standard errors: a correct estimate fails for fewer than 1 seed in 1,000,000.
    assert (estimates.mean() - exact).abs().item() < 5 * estimates.std().item() / 20_000**0.5


def test_kl_without_a_closed_form_uses_the_draw_and_the_condition_it_is_given() -> None:
    posterior, reference = some_normal((2,))
    z, condition = torch.ones(4, 2, dtype=torch.float64), torch.full((4, 1), 2.0, dtype=torch.float64)
    expected = reference.log_prob(z) - Normal(2.5, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(kl(posterior, ShiftedNormal(0.5), z=z, condition=condition), expected)


def test_a_registered_closed_form_is_used_and_never_replaced() -> None:
    @final
    class Registered(LatentPrior):
        support: ClassVar[Support] = "real"

        def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
            raise NotImplementedError

        def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
            raise NotImplementedError

    @register_kl(DiagonalNormal, Registered)
    def closed_form(posterior: DiagonalNormal, prior: Registered, condition: Tensor | None) -> Tensor:
        return torch.full((len(posterior.mean),), 7.0)

    assert kl(some_normal((3,))[0], Registered()).tolist() == [7.0] * 4
    with pytest.raises(ConfigurationError, match=r"DiagonalNormal \|\| Registered"):
        register_kl(DiagonalNormal, Registered)(closed_form)


def test_a_dirac_is_one_code_without_a_density() -> None:
    code = torch.randn(4, 2, 3, requires_grad=True)
    posterior = Dirac(code)
    assert posterior.mean is code
    draws = posterior.rsample((5,))
    assert torch.equal(draws, code.unsqueeze(0).repeat(5, 1, 1, 1))
    (gradient,) = torch.autograd.grad(draws.sum(), code)
    assert torch.equal(gradient, torch.full_like(code, 5))
    with pytest.raises(ConfigurationError, match="deterministic encoder"):
        posterior.log_prob(code)
    with pytest.raises(ConfigurationError, match="posterior=normal"):
        kl(posterior, StandardNormal([2, 3]))
