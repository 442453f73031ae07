"""What the observations promise: means and draws in the data's range, and likelihoods in nats."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Independent, Normal

from ganvae_core.builtin.observations.basic import Bernoulli, Gaussian, Point, auto
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Observation
from ganvae_core.types import DataSpec

SHAPE = (2, 3, 4)
RANGES = [(0.0, 1.0), (-1.0, 1.0), (10.0, 260.0)]
UNBOUNDED = DataSpec(SHAPE, None)


def some_raw(scale: float = 2.0) -> Tensor:
    return scale * torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("data_range", [*RANGES, None])
@pytest.mark.parametrize("make", [Bernoulli, Gaussian, Point, auto])
def test_means_and_draws_lie_in_the_range_and_means_are_differentiable(
    make: type[Observation], data_range: tuple[float, float] | None
) -> None:
    if make is Bernoulli and data_range is None:
        return
    torch.manual_seed(0)
    data = DataSpec(SHAPE, data_range)
    observation = make(data)
    assert observation.raw_shape(data) == SHAPE
    raw = some_raw().requires_grad_()
    observed = observation(raw)
    low, high = data_range or (-math.inf, math.inf)
    for values in (observed.mean, observed.sample()):
        assert values.shape == (5, *SHAPE)
        assert ((values >= low) & (values <= high)).all()
    (gradient,) = torch.autograd.grad(observed.mean.sum(), raw)
    assert gradient.isfinite().all()
    assert (gradient > 0).all()


@pytest.mark.parametrize("data_range", RANGES)
def test_bernoulli_is_torchs_on_the_ends_of_the_range(data_range: tuple[float, float]) -> None:
    low, high = data_range
    raw = some_raw()
    bits = (torch.rand_like(raw) < 0.5).double()
    observed = Bernoulli(DataSpec(SHAPE, data_range))(raw)
    reference = Independent(TorchBernoulli(logits=raw), len(SHAPE))
    torch.testing.assert_close(observed.log_prob(bits * (high - low) + low), reference.log_prob(bits))
    torch.testing.assert_close(observed.mean, reference.mean * (high - low) + low)


def test_bernoulli_of_grey_levels_is_the_cross_entropy() -> None:
    raw, grey = some_raw(), torch.rand(5, *SHAPE, dtype=torch.float64)
    probability = raw.sigmoid()
    expected = (grey * probability.log() + (1 - grey) * (1 - probability).log()).sum((1, 2, 3))
    torch.testing.assert_close(Bernoulli()(raw).log_prob(grey), expected)


def test_bernoulli_stays_finite_for_extreme_logits() -> None:
    raw = torch.tensor([[-1e4, 1e4]])
    assert Bernoulli()(raw).log_prob(torch.tensor([[1.0, 0.0]])).tolist() == [-2e4]


def test_bernoulli_draws_the_ends_of_the_range_as_often_as_the_mean_says() -> None:
    torch.manual_seed(0)
    raw = torch.tensor([[-1.0, 0.0, 2.0]]).expand(20_000, 3)
    observed = Bernoulli(DataSpec((3,), (-1.0, 1.0)))(raw)
    draws = observed.sample()
    assert set(draws.unique().tolist()) == {-1.0, 1.0}
    # Three averages at five standard errors: a correct sampler fails for fewer than 1 seed in 500,000.
    assert ((draws.mean(0) - observed.mean[0]).abs() < 5 * draws.std(0) / 20_000**0.5).all()


def test_bernoulli_refuses_data_without_bounds_and_says_what_to_use() -> None:
    with pytest.raises(ConfigurationError, match="observation=gaussian"):
        Bernoulli(UNBOUNDED)


@pytest.mark.parametrize("learn_scale", [False, True])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_gaussian_is_torchs(scale: float, learn_scale: bool) -> None:
    raw, x = some_raw(), some_raw(1.0) + 0.5
    observation = Gaussian(scale=scale, learn_scale=learn_scale).double()
    reference = Independent(Normal(raw, torch.full_like(raw, scale)), len(SHAPE))
    torch.testing.assert_close(observation(raw).log_prob(x), reference.log_prob(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(observation(raw).mean, raw)


def test_gaussian_draws_have_its_mean_and_scale() -> None:
    torch.manual_seed(0)
    draws = Gaussian(scale=0.3)(torch.full((20_000, 2), 1.5)).sample()
    # Four averages at five standard errors: a correct sampler fails for fewer than 1 seed in 400,000.
    assert ((draws.mean(0) - 1.5).abs() < 5 * 0.3 / 20_000**0.5).all()
    assert ((draws.std(0) / 0.3 - 1).abs() < 5 / 40_000**0.5).all()


def test_gaussian_maps_bounded_data_by_a_sigmoid() -> None:
    raw = some_raw()
    torch.testing.assert_close(Gaussian(DataSpec(SHAPE, (-1.0, 1.0)))(raw).mean, raw.sigmoid() * 2 - 1)


def test_a_learned_scale_is_one_stored_parameter_and_a_fixed_scale_is_none() -> None:
    assert list(Gaussian(learn_scale=True).state_dict()) == ["log_scale"]
    assert [tuple(p.shape) for p in Gaussian(learn_scale=True).parameters()] == [()]
    assert not list(Gaussian().parameters())


def test_a_learned_scale_finds_the_residuals_standard_deviation() -> None:
    torch.manual_seed(0)
    observation = Gaussian(learn_scale=True)
    x = 0.2 * torch.randn(500, 4)
    optimizer = torch.optim.Adam(observation.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (-observation(torch.zeros(500, 4)).log_prob(x).mean()).backward()
        optimizer.step()
    scale = observation(torch.zeros(1, 4)).log_scale.exp().item()
    assert scale == pytest.approx(x.square().mean().sqrt().item(), rel=0.01)


def test_a_learned_scale_has_a_floor() -> None:
    observation = Gaussian(learn_scale=True)
    with torch.no_grad():
        observation.log_scale.fill_(-100.0)
    observed = observation(torch.zeros(1, 2))
    assert observed.log_scale.item() == pytest.approx(-6.0)
    assert observed.log_prob(torch.ones(1, 2)).isfinite().all()


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_is_not_positive_is_refused(scale: float) -> None:
    with pytest.raises(ConfigurationError, match="scale"):
        Gaussian(scale=scale)


def test_a_learned_scale_must_start_above_its_floor() -> None:
    with pytest.raises(ConfigurationError, match="start above"):
        Gaussian(scale=1e-3, learn_scale=True)


@pytest.mark.parametrize("data_range", RANGES)
def test_point_is_a_tanh_onto_the_range(data_range: tuple[float, float]) -> None:
    low, high = data_range
    raw = some_raw()
    observed = Point(DataSpec(SHAPE, data_range))(raw)
    torch.testing.assert_close(observed.mean, (raw.tanh() + 1) / 2 * (high - low) + low)
    assert torch.equal(observed.sample(), observed.mean)


def test_point_leaves_unbounded_data_alone_and_has_no_likelihood() -> None:
    observation = Point(UNBOUNDED)
    raw = some_raw()
    assert torch.equal(observation(raw).mean, raw)
    assert not observation.has_likelihood
    assert Bernoulli.has_likelihood
    assert Gaussian.has_likelihood
    with pytest.raises(ConfigurationError, match="no likelihood"):
        observation(raw).log_prob(raw)


def test_auto_is_bernoulli_within_bounds_and_a_learned_gaussian_without() -> None:
    assert isinstance(auto(DataSpec(SHAPE, (-1.0, 1.0))), Bernoulli)
    unbounded = auto(UNBOUNDED)
    assert isinstance(unbounded, Gaussian)
    assert unbounded.learn_scale


@pytest.mark.parametrize(
    "observation", [Bernoulli(DataSpec(SHAPE, (-1.0, 1.0))), Gaussian(scale=0.5), Gaussian(DataSpec(SHAPE))]
)
def test_likelihood_gradients_agree_with_finite_differences(observation: Observation) -> None:
    raw = some_raw()[:2, :1, :2, :2].clone().requires_grad_()
    x = torch.rand(2, 1, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda values: observation.double()(values).log_prob(x), (raw,))


@pytest.mark.parametrize("data_range", [(-1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("make", [Bernoulli, Gaussian])
def test_a_mask_leaves_the_likelihood_of_what_was_observed(
    make: type[Observation], data_range: tuple[float, float]
) -> None:
    observed = make(DataSpec(SHAPE, data_range)).double()(some_raw())
    low, high = data_range
    x = torch.rand(5, *SHAPE, dtype=torch.float64) * (high - low) + low
    mask = torch.rand(5, *SHAPE) < 0.5
    places = torch.eye(24, dtype=torch.bool).reshape(24, 1, *SHAPE).expand(24, 5, *SHAPE)
    alone = torch.stack([observed.log_prob(x, place) for place in places], dim=1).reshape(5, *SHAPE)
    torch.testing.assert_close(alone.sum((1, 2, 3)), observed.log_prob(x))
    torch.testing.assert_close((alone * mask).sum((1, 2, 3)), observed.log_prob(x, mask))
    assert observed.log_prob(x, torch.zeros_like(mask)).tolist() == [0.0] * 5
    hidden = x.where(mask, low)
    assert torch.equal(observed.log_prob(hidden, mask), observed.log_prob(x, mask)), (
        "hidden values count nothing"
    )


@pytest.mark.parametrize("make", [Bernoulli, Gaussian])
def test_several_values_of_x_a_row_have_a_likelihood_each(make: type[Observation]) -> None:
    observed = make(DataSpec(SHAPE)).double()(some_raw())
    x, mask = torch.rand(4, 2, 5, *SHAPE, dtype=torch.float64), torch.rand(5, *SHAPE) < 0.5
    for given in (None, mask):
        expected = torch.stack([observed.log_prob(one, given) for one in x.flatten(0, 1)]).reshape(4, 2, 5)
        torch.testing.assert_close(observed.log_prob(x, given), expected)
