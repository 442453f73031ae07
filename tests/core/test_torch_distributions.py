"""torch's distributions, and zuko's, as posterior, prior and observed data."""

from __future__ import annotations

import math

import pytest
import torch
import zuko
from torch import Tensor, nn
from torch.distributions import (
    Beta,
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    kl_divergence,
)

import ganvae_core as gv

ROWS = 4


def normal(event: tuple[int, ...], seed: int = 1) -> Normal:
    generator = torch.Generator().manual_seed(seed)
    location, log_scale = torch.randn(2, ROWS, *event, generator=generator, dtype=torch.float64)
    return Normal(location, log_scale.exp())


@pytest.mark.parametrize("event", [(3,), (2, 3), ()])
@pytest.mark.parametrize("reinterpreted", [0, 1, 2])
def test_a_posterior_of_torchs_is_the_diagonal_normal_with_its_parameters(
    event: tuple[int, ...], reinterpreted: int
) -> None:
    base = normal(event)
    posterior = gv.TorchPosterior(Independent(base, min(reinterpreted, len(event))))
    own = gv.DiagonalNormal(base.loc, 2 * base.scale.log())
    torch.manual_seed(0)
    z = posterior.rsample((5,))
    assert z.shape == (5, ROWS, *event)
    torch.testing.assert_close(posterior.log_prob(z), own.log_prob(z))
    assert torch.equal(posterior.mean, base.loc)


def test_a_posterior_with_an_event_of_its_own_and_one_without_a_mean() -> None:
    covariance = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    posterior = gv.TorchPosterior(MultivariateNormal(torch.zeros(ROWS, 2), covariance))
    assert posterior.log_prob(posterior.rsample((3,))).shape == (3, ROWS)
    flow = zuko.flows.MAF(2, context=3, transforms=1)
    code = torch.ones(ROWS, 2)
    flowing = gv.TorchPosterior(flow(torch.randn(ROWS, 3)), code)
    assert flowing.mean is code
    assert flowing.log_prob(flowing.rsample((3,))).shape == (3, ROWS)


@pytest.mark.parametrize("distribution", [
    Normal(torch.zeros(2, 3), torch.ones(2, 3)), Independent(Normal(torch.zeros(2, 3), 1.0), 1),
    Independent(Normal(torch.zeros(2, 3), 1.0), 2)])  # fmt: skip
def test_a_prior_of_torchs_is_the_standard_normal(distribution: torch.distributions.Distribution) -> None:
    prior, own = gv.TorchPrior(distribution), gv.StandardNormal([2, 3])
    assert prior.latent_shape == (2, 3)
    z = prior.sample(6)
    assert z.shape == (6, 2, 3)
    torch.testing.assert_close(prior.log_prob(z), own.log_prob(z))
    assert list(prior.parameters()) == []


def test_a_lazy_flow_is_a_prior_that_is_trained_with_and_without_a_condition() -> None:
    torch.manual_seed(0)
    plain = gv.TorchPrior(zuko.flows.NSF(4, transforms=1), [2, 2])
    z = plain.sample(5)
    assert z.shape == (5, 2, 2)
    assert z.requires_grad, "a GAN trains a flow through its draws"
    torch.testing.assert_close(plain.log_prob(z), plain.made(None).log_prob(z.flatten(1)))
    assert gv.TorchPrior(zuko.flows.NSF(4, transforms=1)).latent_shape == (4,)
    conditional = gv.TorchPrior(zuko.flows.NSF(4, context=3, transforms=1), [4])
    condition = torch.eye(3)
    z = conditional.sample(3, condition)
    assert z.shape == (3, 4)
    value = conditional.log_prob(z, condition)
    assert value.shape == (3,)
    assert not torch.allclose(value, conditional.log_prob(z, condition.roll(1, 0)))
    value.sum().backward()
    assert any(parameter.grad is not None for parameter in conditional.parameters())


def test_the_divergence_of_two_torch_distributions_is_torchs_closed_form() -> None:
    base, z = normal((3,)), torch.full((ROWS, 3), 100.0, dtype=torch.float64)
    prior = gv.TorchPrior(Normal(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)))
    closed = gv.kl(gv.TorchPosterior(base), prior, z=z)
    torch.testing.assert_close(closed, kl_divergence(base, Normal(torch.zeros(3), 1.0)).sum(1))
    laplace = gv.TorchPrior(Laplace(torch.zeros(3), torch.ones(3)))
    torch.testing.assert_close(
        gv.kl(gv.TorchPosterior(base), laplace), kl_divergence(base, Laplace(torch.zeros(3), 1.0)).sum(1)
    )
    flow = gv.TorchPrior(zuko.flows.NSF(3, transforms=1)).double()
    estimate = gv.kl(gv.TorchPosterior(base), flow, z=base.mean)
    torch.testing.assert_close(estimate, base.log_prob(base.mean).sum(1) - flow.log_prob(base.mean))


def test_observed_data_of_torchs_counts_what_was_observed() -> None:
    torch.manual_seed(0)
    base = Beta(torch.rand(ROWS, 2, 3) + 1, torch.rand(ROWS, 2, 3) + 1)
    x, mask = base.sample(), torch.rand(ROWS, 2, 3) < 0.5
    for observed in (gv.TorchObserved(base), gv.TorchObserved(Independent(base, 2))):
        torch.testing.assert_close(observed.mean, base.mean)
        torch.testing.assert_close(observed.log_prob(x), base.log_prob(x).sum((1, 2)))
        torch.testing.assert_close(observed.log_prob(x, mask), (base.log_prob(x) * mask).sum((1, 2)))
        assert observed.log_prob(x.expand(5, *x.shape), mask).shape == (5, ROWS)
        assert observed.sample().shape == (ROWS, 2, 3)


def test_a_category_counts_where_it_was_observed() -> None:
    base = OneHotCategorical(logits=torch.randn(ROWS, 2, 3))  # two categories of three values each
    x, seen = base.sample(), torch.tensor([[True, False]]).expand(ROWS, 2)
    observed = gv.TorchObserved(base)
    torch.testing.assert_close(observed.log_prob(x), base.log_prob(x).sum(1))
    mask = seen[..., None].expand(ROWS, 2, 3)
    torch.testing.assert_close(observed.log_prob(x, mask), base.log_prob(x)[:, 0])


def test_a_model_of_torchs_distributions_trains_and_folds_draws() -> None:
    class Encoding(gv.Encoder):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x: Tensor, condition: Tensor | None = None) -> gv.TorchPosterior:
            location, log_scale = self.layer(x).chunk(2, 1)
            return gv.TorchPosterior(Normal(location, log_scale.exp()))

    class Laplacian(gv.Observation):
        def raw_shape(self, data: gv.DataSpec) -> tuple[int, ...]:
            return data.shape

        def forward(self, raw: Tensor) -> gv.TorchObserved:
            return gv.TorchObserved(Laplace(raw, 1.0))

    prior = gv.TorchPrior(Normal(torch.zeros(2), torch.ones(2)))
    model = gv.Model(gv.MLPGenerator([2], [3]), prior, Laplacian(), Encoding())
    bound = model.log_likelihood_bound(torch.randn(5, 3), samples=4)
    assert bound.shape == (5,)
    bound.sum().backward()
    assert math.isfinite(sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None))
