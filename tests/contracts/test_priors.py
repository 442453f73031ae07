"""What continuous priors promise: draws and densities that agree, and a fitted mixture that finds what is there.

That draws follow their density, and that state survives, is for the conformance kit: test_kit_first_party.py.
Statistical tests have fixed seeds; the stated rates say how often another seed would fail a correct prior.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from ganvae_core.builtin.priors.continuous import Hypersphere, StandardNormal, TruncatedNormal, Uniform
from ganvae_core.builtin.priors.gaussian_mixture import GaussianMixture
from ganvae_core.errors import ConfigurationError, NotFittedError, TrainingError
from ganvae_core.interfaces import LatentPrior

MEANS = torch.tensor([[-4.0, 0.0], [4.0, 1.0], [0.0, 6.0]])
SCALES = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.3, 0.0], [0.0, 1.0]], [[1.0, 0.0], [-0.8, 0.4]]])
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])


FIXED = [StandardNormal, Uniform, TruncatedNormal, Hypersphere]


def known_mixture(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    chosen = torch.multinomial(WEIGHTS, count, replacement=True, generator=generator)
    noise = torch.randn(count, 2, 1, generator=generator)
    return MEANS[chosen] + (SCALES[chosen] @ noise).squeeze(2)


def fitted_mixture() -> GaussianMixture:
    prior = GaussianMixture([2], components=3)
    prior.fit(known_mixture(2_000))
    return prior


@pytest.mark.parametrize("make", FIXED)
def test_draws_have_the_latent_shape_and_follow_torchs_generator(make: type[LatentPrior]) -> None:
    prior = make([2, 3])
    torch.manual_seed(0)
    first = prior.sample(5)
    second = prior.sample(5)
    torch.manual_seed(0)
    assert first.shape == (5, 2, 3)
    assert torch.equal(prior.sample(5), first)
    assert not torch.equal(first, second)
    assert prior.log_prob(first).shape == (5,)
    assert prior.log_prob(first).isfinite().all()


@pytest.mark.parametrize("make", FIXED)
def test_priors_without_parameters_follow_their_module_and_store_nothing(make: type[LatentPrior]) -> None:
    prior = make([2])
    assert not prior.state_dict()
    z = prior.double().sample(1)
    assert (z.dtype, prior.log_prob(z).dtype) == (torch.float64, torch.float64)
    assert prior.to("meta").sample(1).device.type == "meta"


def test_log_prob_of_the_standard_normal_is_scipys() -> None:
    z = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = stats.multivariate_normal(np.zeros(6)).logpdf(z.flatten(1).numpy())
    np.testing.assert_allclose(StandardNormal([2, 3]).log_prob(z).numpy(), expected, rtol=1e-12)


def test_log_prob_of_the_uniform_is_constant_inside_and_minus_infinity_outside() -> None:
    z = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5], [0.0, 1.01, 0.0]], dtype=torch.float64)
    expected = [-3 * math.log(2)] * 2 + [-math.inf]
    assert Uniform([3]).log_prob(z).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bound", [1e-3, 0.5, 2.0, 2.1, 4.0])
def test_the_truncated_normal_is_scipys(bound: float) -> None:
    prior = TruncatedNormal([3, 2], bound=bound)
    reference = stats.truncnorm(-bound, bound)
    torch.manual_seed(0)
    draws = prior.sample(2_000)
    assert prior.log_prob(draws).isfinite().all(), "a draw lies outside of the bound"
    # Five Kolmogorov-Smirnov tests at 1e-5: a correct prior fails for 5 seeds in 100,000.
    assert stats.kstest(draws.flatten().double().numpy(), reference.cdf).pvalue > 1e-5
    z = draws.double().clamp(-bound, bound)
    expected = reference.logpdf(z.flatten(1).numpy()).sum(1)
    np.testing.assert_allclose(prior.log_prob(z).numpy(), expected, rtol=1e-9)


def test_the_truncated_normal_ends_at_its_bound_and_has_gradients_within() -> None:
    prior = TruncatedNormal([2], bound=2.1)
    z = torch.tensor([[2.1, -2.1], [2.11, 0.0], [0.5, -1.0]], requires_grad=True)
    log_prob = prior.log_prob(z)
    assert log_prob.isfinite().tolist() == [True, False, True]
    assert log_prob[1] == -math.inf
    log_prob[[0, 2]].sum().backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad[[0, 2]], -z.detach()[[0, 2]])


@pytest.mark.parametrize("bound", [2.0, 8.0, 1e30])
@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_no_draw_of_the_truncated_normal_is_extreme(
    bound: float, extreme: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(size: tuple[int, ...], **placement: Any) -> torch.Tensor:
        return torch.full(size, extreme, **placement)

    monkeypatch.setattr(torch, "rand", constant)
    assert TruncatedNormal([2], bound=bound).sample(1).abs().max() < min(bound, 6.0) + 1e-6


@pytest.mark.parametrize("radius", [1.0, 2.5])
@pytest.mark.parametrize("shape", [[2], [3], [2, 3], [3, 32, 32]])
def test_draws_of_the_hypersphere_are_uniform_on_it(shape: list[int], radius: float) -> None:
    prior = Hypersphere(shape, radius=radius)
    torch.manual_seed(0)
    z = prior.sample(2_000)
    assert prior.log_prob(z).isfinite().all(), "a draw counts as off the sphere"
    flat = z.flatten(1).double()
    np.testing.assert_allclose(flat.norm(dim=1).numpy(), radius, rtol=1e-6)
    # A projection on any axis, put on [0, 1], follows Beta((d - 1) / 2, (d - 1) / 2). Sixteen tests at 1e-5.
    half = 0.5 * (flat.shape[1] - 1)
    for axis in (torch.eye(flat.shape[1])[0], torch.ones(flat.shape[1])):
        projection = 0.5 + 0.5 * flat @ (axis / axis.norm()).double() / radius
        assert stats.kstest(projection.numpy(), stats.beta(half, half).cdf).pvalue > 1e-5


def test_the_density_on_a_sphere_is_one_over_its_area() -> None:
    areas = {1: 2.0, 2: 2 * math.pi * 1.5, 3: 4 * math.pi * 1.5**2, 4: 2 * math.pi**2 * 1.5**3}
    for size, area in areas.items():
        prior = Hypersphere([size], radius=1.5).double()
        assert prior.log_prob(prior.sample(2)).tolist() == pytest.approx([-math.log(area)] * 2, rel=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999, 1.001, 2.0])
def test_off_the_sphere_the_density_is_zero(share: float) -> None:
    prior = Hypersphere([5], radius=3.0)
    assert prior.log_prob(prior.sample(4) * share).tolist() == [-math.inf] * 4


def test_a_draw_without_a_direction_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def constant(size: tuple[int, ...], **placement: Any) -> torch.Tensor:
        return torch.zeros(size, **placement)

    monkeypatch.setattr(torch, "randn", constant)
    prior = Hypersphere([1], radius=2.0)
    assert prior.sample(3).abs().tolist() == [[2.0]] * 3


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_sizes_that_are_not_positive_are_refused(bad: float) -> None:
    for make in (lambda: TruncatedNormal([2], bound=bad), lambda: Hypersphere([2], radius=bad)):
        with pytest.raises(ConfigurationError, match="must be a positive number"):
            make()


def test_supports_are_stated() -> None:
    assert [make.support for make in FIXED] == ["real", "bounded", "bounded", "sphere"]
    assert GaussianMixture.support == "real"


@pytest.mark.parametrize("shape", [[0], [-3], [2, 0], [1.5]])
@pytest.mark.parametrize("make", [*FIXED, GaussianMixture])
def test_a_latent_shape_that_is_none_is_refused(make: type, shape: list[int]) -> None:
    with pytest.raises(ConfigurationError, match="latent shape"):
        make(shape)


def test_the_mixture_recovers_a_known_mixture() -> None:
    prior = fitted_mixture()
    order = [int((prior.means - mean).norm(dim=1).argmin()) for mean in MEANS]
    assert sorted(order) == [0, 1, 2]
    # 2,000 codes: standard errors are 0.01 for the weights and at most 0.05 for the means and covariances.
    torch.testing.assert_close(prior.weights[order], WEIGHTS, atol=0.05, rtol=0)
    torch.testing.assert_close(prior.means[order], MEANS, atol=0.25, rtol=0)
    covariances = prior.scale_trils @ prior.scale_trils.mT
    torch.testing.assert_close(covariances[order], SCALES @ SCALES.mT, atol=0.3, rtol=0)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_log_prob_of_the_mixture_is_scipys(covariance: str) -> None:
    prior = GaussianMixture([2], components=3, covariance=covariance)  # pyright: ignore[reportArgumentType]
    prior.fit(known_mixture(500))
    prior.double()
    z = known_mixture(50).double() * 1.5
    covariances = prior.scale_trils @ prior.scale_trils.mT
    densities = sum(
        weight.item() * stats.multivariate_normal(mean.numpy(), covariance_matrix.numpy()).pdf(z.numpy())
        for weight, mean, covariance_matrix in zip(prior.weights, prior.means, covariances, strict=True)
    )
    np.testing.assert_allclose(prior.log_prob(z).numpy(), np.log(densities), rtol=1e-9)
    if covariance == "diagonal":
        assert torch.equal(prior.scale_trils.tril(-1), torch.zeros_like(prior.scale_trils))


def test_draws_of_the_mixture_have_its_moments() -> None:
    prior = fitted_mixture()
    torch.manual_seed(0)
    draws = prior.sample(20_000).double()
    mean = (prior.weights.unsqueeze(1) * prior.means).sum(0).double()
    within = (prior.weights.view(-1, 1, 1) * (prior.scale_trils @ prior.scale_trils.mT)).sum(0).double()
    offsets = prior.means.double() - mean
    covariance = within + (
        prior.weights.double().view(-1, 1, 1) * offsets[:, :, None] * offsets[:, None]
    ).sum(0)
    # Five averages at five standard errors: a correct sampler fails for fewer than 1 seed in 100,000.
    standard_error = draws.std(0) / 20_000**0.5
    assert ((draws.mean(0) - mean).abs() < 5 * standard_error).all()
    products = (draws - mean)[:, :, None] * (draws - mean)[:, None]
    assert ((products.mean(0) - covariance).abs() < 5 * products.std(0) / 20_000**0.5).all()


def test_fitting_is_deterministic_and_draws_nothing_from_torch() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, second = fitted_mixture(), fitted_mixture()
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_mixture_that_was_not_fitted_says_so() -> None:
    prior = GaussianMixture([2])
    for use in (lambda: prior.sample(3), lambda: prior.log_prob(torch.zeros(3, 2))):
        with pytest.raises(NotFittedError, match="not been fitted") as refusal:
            use()
        assert "--resume" in str(refusal.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_codes_that_are_not_finite_are_refused_and_nothing_is_half_fitted(bad: float) -> None:
    prior = GaussianMixture([2], components=2)
    codes = known_mixture(100)
    codes[17, 1] = bad
    with pytest.raises(TrainingError, match="not finite"):
        prior.fit(codes)
    assert not prior.fitted


def test_fewer_codes_than_components_leave_components_without_weight() -> None:
    prior = GaussianMixture([2], components=5)
    prior.fit(known_mixture(3))
    assert (prior.weights > 0).tolist() == [True] * 3 + [False] * 2
    torch.manual_seed(0)
    z = prior.sample(100)
    assert (z - known_mixture(3).unsqueeze(1)).norm(dim=2).amin(0).max().item() < 0.1  # near the three codes
    assert prior.log_prob(z).isfinite().all()
    with pytest.raises(TrainingError, match="two or more"):
        prior.fit(known_mixture(1))


def test_refitting_on_fewer_codes_forgets_the_first_fit() -> None:
    prior, fresh = fitted_mixture(), GaussianMixture([2], components=3)
    prior.fit(known_mixture(2))
    fresh.fit(known_mixture(2))
    z = known_mixture(10)
    assert torch.equal(prior.log_prob(z), fresh.log_prob(z))


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_mixture_fits_codes_of_any_scale_alike(scale: float) -> None:
    prior, scaled = fitted_mixture(), GaussianMixture([2], components=3)
    scaled.fit(known_mixture(2_000) * scale)
    torch.testing.assert_close(scaled.means / scale, prior.means, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(scaled.scale_trils / scale, prior.scale_trils, atol=1e-3, rtol=1e-3)


def test_codes_that_are_all_equal_give_draws_near_them() -> None:
    prior = GaussianMixture([2, 1], components=4)
    prior.fit(torch.full((50, 2, 1), 7.0))
    torch.testing.assert_close(prior.sample(20), torch.full((20, 2, 1), 7.0), atol=0.05, rtol=0)


def test_codes_beyond_the_limit_are_taken_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvae_core.builtin.priors.gaussian_mixture.MOST_ROWS", 100)
    codes = torch.linspace(0, 1, 1_050).unsqueeze(1)
    prior, reference = GaussianMixture([1], components=1), GaussianMixture([1], components=1)
    prior.fit(codes)
    reference.fit(codes[[row * 1_050 // 100 for row in range(100)]])
    assert torch.equal(prior.means, reference.means)
    assert torch.equal(prior.scale_trils, reference.scale_trils)


@pytest.mark.parametrize("options", [{"components": 0}, {"components": -1}, {"covariance": "ful"}])
def test_wrong_options_of_the_mixture_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        GaussianMixture([2], **options)  # pyright: ignore[reportArgumentType]
