"""The flow prior, its density and draws, and the objective that trains a prior on codes."""

from __future__ import annotations

import builtins
import math
from typing import Any

import pytest
import torch

import ganvae_core as gv
from ganvae_core.builtin.prior_likelihood import PriorLikelihood


def some_flow(shape: list[int], condition: list[int] | None = None, **options: Any) -> gv.Flow:
    """A flow with weights away from where they begin, that has seen codes around 5 with a deviation of 3."""
    torch.manual_seed(0)
    flow = gv.Flow(shape, condition, transforms=2, hidden=(8,), bins=4, **options).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    seen(flow, torch.randn(50, *shape, dtype=torch.float64) * 3 + 5)
    return flow


def seen(flow: gv.Flow, codes: torch.Tensor) -> None:
    flow.standardise(codes.flatten(1).mean(0), codes.flatten(1).square().mean(0))


@pytest.mark.parametrize("options", [{}, {"coupling": False}, {"transform": "affine"}])
@pytest.mark.parametrize("shape", [[1], [3], [2, 2]])
def test_the_density_is_the_base_density_over_the_jacobian_of_a_draw(
    shape: list[int], options: dict[str, Any]
) -> None:
    flow, size = some_flow(shape, **options), math.prod(shape)

    def draw(base: torch.Tensor) -> torch.Tensor:
        made = flow.flow().transform.inv(base)
        return made * (flow.square - flow.mean**2).sqrt() + flow.mean

    base = torch.randn(size, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(draw, base)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(base).sum() - torch.linalg.slogdet(jacobian)[1]
    z = draw(base).reshape(1, *shape)
    torch.testing.assert_close(flow.log_prob(z)[0], expected)


def test_draws_have_the_shape_and_scale_of_the_codes_and_depend_on_the_condition() -> None:
    flow = some_flow([2, 2], [3])
    condition = torch.eye(3, dtype=torch.float64).repeat(400, 1)
    torch.manual_seed(0)
    z = flow.sample(1200, condition)
    assert z.shape == (1200, 2, 2)
    assert flow.log_prob(z, condition).shape == (1200,)
    assert not torch.allclose(flow.log_prob(z, condition), flow.log_prob(z, condition.roll(1, 0)))
    with pytest.raises(gv.ConfigurationError, match="condition"):
        flow.sample(4)


def test_codes_are_standardised_by_all_batches() -> None:
    torch.manual_seed(0)
    flow = gv.Flow([2], transforms=1, hidden=(4,))
    codes = torch.randn(20, 500, 2)
    before = flow.log_prob(codes[0])
    for batch in codes:
        seen(flow, batch * 100 + 1000)
    torch.testing.assert_close(flow.mean, codes.mean((0, 1)) * 100 + 1000)
    deviation = (codes.var((0, 1), correction=0)).sqrt() * 100
    torch.testing.assert_close((flow.square - flow.mean**2).sqrt(), deviation, rtol=1e-3, atol=0.0)
    after = flow.log_prob(codes[0] * 100 + 1000)
    torch.testing.assert_close(after.mean(), before.mean() - 2 * math.log(100), rtol=0.0, atol=0.05)


def test_the_first_batch_of_prior_likelihood_gives_the_scale_and_trains_nothing() -> None:
    torch.manual_seed(0)
    data = gv.DataSpec((3,), None, "table")
    prior = gv.Flow([2], transforms=1, hidden=(4,))
    objective = PriorLikelihood(
        gv.Model(gv.MLPGenerator([2], [3]), prior, gv.Gaussian(), gv.MLPEncoder(data, [2]))
    )
    (phase,) = objective.phases()
    codes = gv.Batch(torch.randn(64, 2) * 30, None, None, torch.arange(64), 0)
    for trained in (False, True):
        loss = phase.loss(codes)
        torch.testing.assert_close(loss.value, -prior.log_prob(codes.x).mean())
        gradients = torch.autograd.grad(loss.value, list(prior.parameters()), allow_unused=True)
        assert any(gradient is not None and gradient.any() for gradient in gradients) == trained
        assert phase.after is not None
        with torch.no_grad():
            phase.after(loss.statistics)
    torch.testing.assert_close(prior.mean, codes.x.mean(0))


def test_prior_likelihood_is_the_mean_over_the_codes_and_trains_the_prior_alone() -> None:
    torch.manual_seed(0)
    data = gv.DataSpec((3,), None, "table")
    model = gv.Model(
        gv.MLPGenerator([2], [3]), gv.Mixture([2], components=3), gv.Gaussian(), gv.MLPEncoder(data, [2])
    )
    objective = PriorLikelihood(model)
    codes = torch.randn(7, 2)
    loss = objective.loss(gv.Batch(codes, None, None, torch.arange(7), 0)).value
    torch.testing.assert_close(loss, -model.prior.log_prob(codes).mean())
    (phase,) = objective.phases()
    assert phase.trains == [model.prior]
    assert objective.batches == "codes"
    with pytest.raises(gv.ConfigurationError, match="StandardNormal has no parameters"):
        PriorLikelihood(gv.Model(model.generator, gv.StandardNormal([2]), gv.Gaussian()))


def test_a_flow_learns_the_codes_likelihood() -> None:
    """On a banana, a normal distribution with its moments is 2.6 nats from the entropy, and no density is below it."""
    torch.manual_seed(0)
    flow = gv.Flow([2], transforms=2, hidden=(32,), coupling=False)
    optimizer = torch.optim.Adam(flow.parameters(), 5e-3)

    def codes(count: int) -> torch.Tensor:
        first = torch.randn(count)
        return torch.stack([first, 0.1 * torch.randn(count) + first.square()], 1)

    seen(flow, codes(4000))
    entropy = math.log(2 * math.pi * math.e) + math.log(0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (-flow.log_prob(codes(256)).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        excess = -flow.log_prob(codes(4000)).mean().item() - entropy
    # The estimate has a standard error of 0.03 nats.
    assert -0.15 < excess < 1.3


def test_without_zuko_the_flow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "zuko":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(gv.ConfigurationError, match=r"ganvae\[flows\]"):
        gv.Flow([2])


def test_the_engine_trains_the_prior_on_codes_of_the_averaged_encoder() -> None:
    torch.manual_seed(0)
    data = gv.as_source(torch.randn(64, 3).numpy())
    model = gv.Model(
        gv.MLPGenerator([2], [3]),
        gv.Flow([2], transforms=1, hidden=(4,)),
        gv.Gaussian(data.spec),
        gv.MLPEncoder(data.spec, [2]),
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    settings = gv.EngineSettings(steps=5, batch_size=16, device="cpu", precision="fp32")
    engine = gv.Engine(PriorLikelihood(model), data, settings, stage=1)
    engine.fit()
    changed = {
        key.partition(".")[0] for key, value in model.state_dict().items() if (value != before[key]).any()
    }
    assert changed == {"prior"}
    assert isinstance(model.prior, gv.Flow)
    assert model.prior.batches == 5
