"""Observations of levels, counts, categories and pixels: their probabilities against independent computations."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import ganvae_core as gv
from ganvae_core.builtin.observations.basic import Gaussian
from ganvae_core.builtin.observations.discretised import DiscretisedLogistic, bits_per_dimension
from ganvae_core.builtin.observations.further import (
    CategoricalObservation,
    ContinuousBernoulli,
    NegativeBinomial,
)
from ganvae_core.builtin.observations.pixelcnn import PixelCNN


@pytest.fixture(autouse=True)
def float64() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def everything(spec: gv.DataSpec, levels: int) -> Tensor:
    """(N, *X) all events of so many levels."""
    assert spec.range is not None
    values = torch.linspace(*spec.range, levels).tolist()
    return torch.tensor(list(itertools.product(values, repeat=math.prod(spec.shape)))).reshape(
        -1, *spec.shape
    )


@pytest.mark.parametrize(
    ("spec", "levels", "components"),
    [
        (gv.DataSpec((2,)), 5, 1),
        (gv.DataSpec((1, 1, 2), (-1.0, 1.0), "image"), 4, 3),
        (gv.DataSpec((3, 1, 1), (0.0, 1.0), "image"), 4, 2),
    ],
)
def test_probabilities_of_all_levels_add_up_to_one_and_are_those_of_draws(
    spec: gv.DataSpec, levels: int, components: int
) -> None:
    observation = DiscretisedLogistic(spec, levels=levels, components=components)
    raw = torch.randn(1, *observation.raw_shape(spec))
    observed = observation(raw)
    events = everything(spec, levels)
    probabilities = observed.log_prob(events[:, None]).exp()[:, 0]
    assert probabilities.sum().item() == pytest.approx(1)
    drawn = observation(raw.expand(4000, *raw.shape[1:])).sample()
    frequencies = (drawn.flatten(1)[:, None] - events.flatten(1)).abs().amax(2).lt(1e-6).double().mean(0)
    assert frequencies.sum().item() == pytest.approx(1), "draws are levels"
    assert (frequencies - probabilities).abs().max().item() < 0.04
    hidden = torch.zeros(1, *spec.shape, dtype=torch.bool)
    torch.testing.assert_close(observed.log_prob(events[:1], hidden), torch.zeros(1))


def test_bits_of_uniform_levels_are_the_logarithm_of_their_number() -> None:
    assert bits_per_dimension(torch.tensor(-6 * math.log(8)), (6,)).item() == pytest.approx(3)


def test_the_continuous_bernoulli_integrates_to_one_with_its_mean() -> None:
    observed = ContinuousBernoulli(gv.DataSpec((1,), (-2.0, 2.0)))(torch.tensor([[1.7]]))
    x = torch.linspace(-2, 2, 4001)[:, None, None]
    density = observed.log_prob(x).exp()[:, 0]
    assert torch.trapezoid(density, x[:, 0, 0]).item() == pytest.approx(1, abs=1e-5)
    mean = torch.trapezoid(density * x[:, 0, 0], x[:, 0, 0]).item()
    assert observed.mean.item() == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("raw", [-1e4, -6.0, -0.3, 0.0, 0.6, 1e4])
def test_in_float32_a_continuous_bernoulli_is_a_density_up_to_its_limits(raw: float) -> None:
    logits = torch.full((1, 1), raw, dtype=torch.float32, requires_grad=True)
    observed = ContinuousBernoulli(gv.DataSpec((1,)))(logits)
    x = torch.linspace(0, 1, 20_001, dtype=torch.float32)
    density = observed.log_prob(x[:, None, None]).exp()[:, 0]
    assert torch.trapezoid(density.double(), x.double()).item() == pytest.approx(1, abs=1e-4)
    mean = torch.trapezoid((density * x).double(), x.double()).item()
    assert observed.mean.item() == pytest.approx(mean, abs=1e-4)
    with torch.no_grad():
        drawn = ContinuousBernoulli()(logits.expand(20_000, 1)).sample()
    assert drawn.mean().item() == pytest.approx(mean, abs=0.01)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    (observed.mean.sum() + density.log().sum()).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("mean", "log_theta"), [(4.0, 10.0), (3e5, 10.0), (0.5, -10.0)])
def test_in_float32_counts_have_scipys_probabilities_up_to_the_limits(mean: float, log_theta: float) -> None:
    raw = torch.tensor([[math.log(mean), log_theta]], dtype=torch.float32)
    observed = NegativeBinomial()(raw)
    counts = torch.tensor([0.0, 1.0, 7.0, mean // 1], dtype=torch.float32)
    found = observed.log_prob(counts[:, None, None])[:, 0]
    assert found.dtype == torch.float32
    theta, mean = raw[0, 1].double().exp().item(), raw[0, 0].double().exp().item()
    expected = torch.from_numpy(stats.nbinom.logpmf(counts.numpy(), theta, theta / (theta + mean)))
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_counts_have_scipys_probabilities_in_the_units_of_the_source(zero_inflated: bool) -> None:
    spec = gv.DataSpec((1,), None, "table", units=gv.Units((3.0,), (2.0,)))
    observation = NegativeBinomial(spec, zero_inflated=zero_inflated)
    mean, theta, zero = 4.0, 1.5, 0.3
    raw = [math.log(mean), math.log(theta), math.log(zero / (1 - zero))][: 3 if zero_inflated else 2]
    observed = observation(torch.tensor([raw]))
    counts = np.arange(200)
    expected = stats.nbinom.pmf(counts, theta, theta / (theta + mean))
    if zero_inflated:
        expected = (1 - zero) * expected
        expected[0] += zero
    x = (torch.from_numpy(counts).double() - 3) / 2
    found = observed.log_prob(x[:, None, None]).exp()[:, 0]
    torch.testing.assert_close(found, torch.from_numpy(expected))
    average = mean * (1 - zero) if zero_inflated else mean
    assert observed.mean.item() * 2 + 3 == pytest.approx(average)
    drawn = observation(torch.tensor([raw]).expand(20_000, -1)).sample() * 2 + 3
    assert drawn.mean().item() == pytest.approx(average, rel=0.05)
    assert torch.equal(drawn, drawn.round())


def test_categories_are_those_of_a_softmax_and_a_hidden_one_counts_nothing() -> None:
    spec = gv.DataSpec((2, 3))
    raw = torch.randn(4, 2, 3)
    x = torch.eye(3)[torch.randint(3, (4, 2))]
    mask = torch.ones(4, 2, 3, dtype=torch.bool)
    mask[0, 1] = False
    expected = (raw.softmax(2) * x).sum(2).log()
    expected[0, 1] = 0
    observed = CategoricalObservation(spec)(raw)
    torch.testing.assert_close(observed.log_prob(x, mask), expected.sum(1))


def test_each_pixel_follows_from_those_before_it_alone_and_probabilities_add_up_to_one() -> None:
    spec = gv.DataSpec((1, 2, 2), (0.0, 1.0), "image")
    observation = PixelCNN(spec, levels=2, width=4, layers=1)
    context = torch.randn(1, 4, 2, 2)
    events = everything(spec, 2)
    probabilities = observation(context).log_prob(events[:, None]).exp()[:, 0]
    assert probabilities.sum().item() == pytest.approx(1)
    with torch.no_grad():
        drawn = observation(context.expand(4000, 4, 2, 2)).sample()
    numbers = (drawn.flatten(1) * torch.tensor([8.0, 4.0, 2.0, 1.0])).sum(1).long()
    assert (torch.bincount(numbers, minlength=16) / 4000 - probabilities).abs().max().item() < 0.03
    # Given the first and the third pixel, the others are drawn in turn. The deviation of a share is at most 0.008.
    given = torch.tensor([1.0, 0.0, 1.0, 0.0]).reshape(1, 1, 2, 2).expand(4000, 1, 2, 2)
    mask = torch.tensor([True, False, True, False]).reshape(1, 1, 2, 2).expand(4000, 1, 2, 2)
    with torch.no_grad():
        filled = observation(context.expand(4000, 4, 2, 2)).filled(given, mask)
    assert (filled[mask] == 1).all()
    by_pixel = probabilities.reshape(2, 2, 2, 2)
    second = by_pixel[1].sum((1, 2)) / by_pixel[1].sum()
    fourth = by_pixel[1, :, 1] / by_pixel[1, :, 1].sum(1, keepdim=True)
    shares = (
        torch.bincount((filled.flatten(1)[:, [1, 3]] * torch.tensor([2.0, 1.0])).sum(1).long(), minlength=4)
        / 4000
    )
    assert (shares - (second[:, None] * fourth).flatten()).abs().max().item() < 0.03
    larger = PixelCNN(gv.DataSpec((2, 4, 4), modality="image"), levels=3, width=4, layers=3)
    x = torch.rand(1, 2, 4, 4, requires_grad=True)
    for position in range(16):
        row, column = divmod(position, 4)
        logits = larger.logits(x, torch.zeros(1, 4, 4, 4))[..., row, column]
        (gradient,) = torch.autograd.grad(logits.square().sum(), x, allow_unused=True)
        reached = gradient.abs().sum((0, 1)).flatten() > 0
        assert not reached[position:].any()
        neighbours = [*([position - 1] if column else []), *([position - 4] if row else [])]
        assert reached[neighbours].all()


@pytest.mark.parametrize("scales", ["per-dimension", "predicted"])
def test_each_value_may_have_a_scale_of_its_own(scales: Any) -> None:
    spec = gv.DataSpec((2, 3), None)
    observation = Gaussian(spec, scales=scales, scale=0.5)
    raw = torch.randn(4, *observation.raw_shape(spec))
    observed = observation(raw)
    location, scale = raw[:, :2], observed.log_scale.exp().expand(4, 2, 3)
    x, mask = torch.randn(4, 2, 3), torch.rand(4, 2, 3) < 0.5
    expected = (torch.distributions.Normal(location, scale).log_prob(x) * mask).sum((1, 2))
    torch.testing.assert_close(observed.log_prob(x, mask), expected)
    assert ((scale - 0.5).abs().max().item() < 1e-9) == (scales == "per-dimension")


def test_what_an_observation_cannot_take_is_refused() -> None:
    unbounded, flat = gv.DataSpec((3,), None), gv.DataSpec((3,))
    two_columns = (gv.Field("size"), gv.Field("kind", "category", 1, 2, ("a", "b")))
    kind = gv.Field("kind", "category", 0, 3, ("a", "b", "c"))
    CategoricalObservation(gv.DataSpec((3,), (0.0, 1.0), "table", fields=(kind,)))
    for make in (
        lambda: ContinuousBernoulli(unbounded),
        lambda: DiscretisedLogistic(unbounded),
        lambda: DiscretisedLogistic(flat, levels=1),
        lambda: CategoricalObservation(gv.DataSpec((3,), (-1.0, 1.0))),
        lambda: CategoricalObservation(gv.DataSpec((1, 4, 4), (0.0, 1.0), "image")),
        lambda: CategoricalObservation(gv.DataSpec((3,), (0.0, 1.0), "table", fields=two_columns)),
        lambda: PixelCNN(flat),
        lambda: Gaussian(scales="per-dimension"),
    ):
        with pytest.raises(gv.ConfigurationError) as refusal:
            make()
        assert refusal.value.hints
