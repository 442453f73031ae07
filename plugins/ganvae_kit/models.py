"""The small models that components are tried around: of an objective, the least that it says it needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ganvae_core.builtin.networks import MLPEncoder, MLPGenerator
from ganvae_core.builtin.observations.basic import Bernoulli, Gaussian
from ganvae_core.builtin.priors.continuous import StandardNormal
from ganvae_core.engine.phases import PreparedPhase, prepare_phases
from ganvae_core.model import Model
from ganvae_core.training import Objective
from ganvae_core.types import DataSpec
from ganvae_kit.data import seeded

Settings = Mapping[str, Any]
"""Settings by dotted key, as ``gv.train(overrides=…)`` takes them."""
SMALL: Settings = {
    f"{part}{key}": value for part in ("generator", "encoder", "critic")
    for key, value in {"": "builtin/mlp", ".hidden": [8]}.items()
}  # fmt: skip
PARTS = [{"name": f"builtin/{name}", "latent_shape": [2]} for name in ("normal", "categorical")]
PRIORS: dict[str, Settings] = {
    "real": {"prior": "builtin/normal"},
    "bounded": {"prior": "builtin/uniform"},
    "sphere": {"prior": "builtin/hypersphere"},
    "discrete": {"prior": "builtin/categorical"},
    "mixed": {"prior": "builtin/composite", "prior.parts": PARTS},
}
"""A prior for each support that an objective may accept."""
ENGINE: dict[str, Any] = {
    "batch_size": 8, "device": "cpu", "precision": "fp32", "log_every": 1, "samples_every": 0,
    "checkpoint_every": 10_000, "seed": 0,
}  # fmt: skip


def small_encoder(data: DataSpec, latent_shape: tuple[int, ...]) -> nn.Module:
    """An encoder with a Gaussian posterior, always the same."""
    with seeded(2):
        return MLPEncoder(data, latent_shape, data.condition, hidden=(8,))


def small_model(data: DataSpec) -> Model:
    """A model that has everything that a metric or a callback may need."""
    with seeded():
        observation = Gaussian(data) if data.range is None else Bernoulli(data)
        generator = MLPGenerator([4], data.shape, data.condition, hidden=(8,))
        encoder = MLPEncoder(data, [4], data.condition, hidden=(8,))
        conditions = None if data.condition is None else torch.eye(*data.condition)
        return Model(generator, StandardNormal([4]), observation, encoder, conditions=conditions)


def phases_of(objective: Objective) -> list[PreparedPhase]:
    """The phases as the engine prepares them."""
    return prepare_phases(objective, freeze_unclaimed=objective.batches == "codes")


def models_for(objective: Any) -> Iterator[Settings]:
    """Settings of models for an objective, from the one that offers least to the one that offers most.

    The least shows whether ``needs`` and ``accepts`` say all: a likelihood that was not asked for is not there.
    """
    needs, accepts = getattr(objective, "needs", frozenset()), getattr(objective, "accepts", frozenset())
    posteriors = ["normal"] if "posterior" in needs else ["dirac", "normal"]
    observations = ["builtin/auto"] if "likelihood" in needs else ["builtin/point", "builtin/auto"]
    support = next((support for support in PRIORS if support in accepts), "real")
    priors = [PRIORS[support]]
    if "prior" not in needs and needs & {"encoder", "posterior"} and support == "real":
        priors.insert(0, {"prior": "builtin/gaussian-mixture", "prior.components": 2})
    if getattr(objective, "batches", "rows") == "codes" and support == "real":
        priors.append({"prior": "builtin/mixture", "prior.components": 2})
    for prior, observation, posterior in itertools.product(priors, observations, posteriors):
        yield {**SMALL, "encoder.posterior": posterior, "observation": observation, **prior}
