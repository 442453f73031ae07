"""ganvae's own components compute what their papers say, in cases that can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from ganvae_kit import Given, open_plugins
from ganvae_kit.trials import PhaseTrial
from torch import Tensor, nn

import ganvae_core as gv

Case = Callable[..., Any]


def zeroed(*modules: nn.Module | None) -> None:
    for module in modules:
        for parameter in () if module is None else module.parameters():
            nn.init.zeros_(parameter)


def blind_critic(**expected: float) -> Case:
    """A critic whose logits are all zero."""

    def case(objective: Any, batch: gv.Batch) -> Mapping[str, float]:
        zeroed(objective.critic)
        return {key.replace("__", "/"): value for key, value in expected.items()}

    case.__name__ = f"blind_critic({expected})"
    return case


def knows_nothing(objective: Any, batch: gv.Batch) -> Mapping[str, float]:
    """With all weights zero the posterior is N(0, I), and each of the 64 pixels is on with probability one half."""
    zeroed(objective.model)
    return {"elbo/kl": 0.0, "elbo/reconstruction": 64 * math.log(2), "elbo/loss": 64 * math.log(2)}


def always_half(objective: Any, batch: gv.Batch) -> Mapping[str, float]:
    """With all weights zero each pixel is the middle of its range."""
    zeroed(objective.model)
    error = (batch.x - 0.5).square().flatten(1).sum(1).mean()
    return {"autoencoder/reconstruction": float(error), "autoencoder/loss": float(error)}


def log_prob_at_zero(expected: Callable[[int], float]) -> Case:
    def case(prior: Any) -> tuple[Tensor, float]:
        z = torch.zeros(3, *prior.latent_shape)
        return prior.log_prob(z), expected(math.prod(prior.latent_shape))

    return case


def first_class(prior: Any) -> tuple[Tensor, float]:
    classes = prior.latent_shape[0]
    return prior.log_prob(torch.eye(classes)), -math.log(classes)


def on_the_circle(prior: Any) -> tuple[Tensor, float]:
    return prior.log_prob(torch.tensor([[0.6, 0.8], [-1.0, 0.0]])), -math.log(2 * math.pi)


def even_coins(observation: Any) -> tuple[Tensor, float]:
    return observation(torch.zeros(2, 1, 8, 8)).log_prob(torch.zeros(2, 1, 8, 8)), -64 * math.log(2)


def even_tokens(observation: Any) -> tuple[Tensor, float]:
    """With all weights zero every token is as probable as any other, up to the end of the text."""
    zeroed(observation)
    text = torch.zeros(2, observation.length)
    text[:, :3] = 5.0
    return observation(torch.zeros(2, observation.width)).log_prob(text), -4 * math.log(observation.size)


MODULES: dict[str, Case] = {
    "builtin prior/normal": log_prob_at_zero(lambda size: -0.5 * size * math.log(2 * math.pi)),
    "builtin prior/uniform": log_prob_at_zero(lambda size: -size * math.log(2)),
    "builtin prior/categorical": first_class,
    "builtin prior/hypersphere": on_the_circle,
    "builtin observation/bernoulli": even_coins,
    "text-vae observation/tokens": even_tokens,
}
"""(component) -> what it computes, and what it should, by plugin and component."""
OBJECTIVES: dict[str, Case] = {
    "vae objective/elbo": knows_nothing,
    "ae objective/autoencoder": always_half,
    "gan objective/non-saturating": blind_critic(critic__loss=2 * math.log(2), generator__loss=math.log(2)),
    "gan objective/minimax": blind_critic(critic__loss=2 * math.log(2), generator__loss=-math.log(2)),
    "gan objective/least-squares": blind_critic(critic__loss=0.5, generator__loss=0.5),
    "gan objective/hinge": blind_critic(critic__loss=2.0, generator__loss=0.0),
    "gan objective/wasserstein": blind_critic(critic__loss=0.0, generator__loss=0.0),
    "gan objective/wgan-gp": blind_critic(critic__loss=10.0, critic__lipschitz=10.0, generator__loss=0.0),
    "gan objective/relativistic": blind_critic(
        critic__loss=math.log(2), critic__r1=0.0, critic__r2=0.0, generator__loss=math.log(2)
    ),
    "bigan objective/bigan": blind_critic(critic__loss=2 * math.log(2), generator__loss=2 * math.log(2)),
}
"""(objective, batch) -> values by phase and term, with the weights that it sets."""


def situation(name: str) -> Any:
    """The component in the first situation that it accepts."""
    plugin, label = name.split()
    given = Given({"observation/tokens": [{"observation.width": 8}]})
    (found,) = open_plugins(plugin, given)
    return next(part for part in found.components if part.label == label).situations[0]


@pytest.mark.parametrize("name", list(MODULES))
def test_a_module_computes_what_was_worked_out(name: str) -> None:
    found, expected = MODULES[name](situation(name).make())
    torch.testing.assert_close(found, torch.as_tensor(expected).expand_as(found), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_an_objective_computes_what_was_worked_out(name: str) -> None:
    trial = PhaseTrial(situation(name))
    expected: Mapping[str, float] = OBJECTIVES[name](trial.made, trial.batch)
    found: dict[str, float] = {}
    for prepared in trial.phases:
        trial.prepared = prepared
        for term, output in trial.run().items():
            found[f"{prepared.phase.name}/{term.removeprefix('the ')}"] = float(output.value)
    assert {term: found[term] for term in expected} == pytest.approx(expected, rel=1e-4, abs=1e-5)
