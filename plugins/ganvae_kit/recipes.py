"""Checks of recipes: they can be read, and train for a few steps on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ganvae_core.config.configuration import stored
from ganvae_core.config.layers import parse_yaml
from ganvae_core.config.render import render
from ganvae_core.runs.preparation import prepare
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.subjects import Recipe

SHORT: dict[str, Any] = {
    "engine.steps": 4, "engine.batch_size": 16, "engine.device": "cpu", "engine.precision": "fp32",
    "engine.log_every": 1, "engine.samples_every": 0,
}  # fmt: skip


@check("recipe")
def configuration(recipe: Recipe) -> None:
    """Its file is a complete configuration of components and options that there are, and goes through config.yaml."""
    wait_for_components(recipe, ("target", "options", "facts"))
    made = recipe.configured()
    again = stored(recipe.owner.catalogue, parse_yaml(render(made), "config.yaml"))
    if again != made:
        raise CheckFailure("its configuration changes when it is written to config.yaml and read back")


@check("recipe", needs=["configuration"])
def smoke_run(recipe: Recipe) -> None:
    """It trains for a few steps on the CPU, and then samples what is finite, of the data's shape and in its range."""
    wait_for_components(recipe)
    made = recipe.configured(**SHORT)
    prepared = prepare(made, recipe.owner.catalogue, recipe.source(made))
    prepared.stages.fit_stage()
    spec = prepared.data.spec
    with torch.no_grad():
        drawn = prepared.engine.model.sample(5)
    if tuple(drawn.shape) != (5, *spec.shape) or not drawn.isfinite().all():
        raise CheckFailure(f"five samples have the shape {tuple(drawn.shape)}, or are not finite")
    low, high = spec.range or (-float("inf"), float("inf"))
    if not ((drawn >= low) & (drawn <= high)).all():
        raise CheckFailure(f"samples are beyond the data's range {spec.range}")


def wait_for_components(recipe: Recipe, checks: Sequence[str] = ()) -> None:
    """A recipe made of components that have failed by themselves would only fail with them.

    Raises:
        NotChecked: there is one.
    """
    for component in recipe.owner.components:
        for outcome in component.outcomes.values():
            if outcome.state == "failed" and (not checks or outcome.check in checks):
                raise NotChecked(f"{component.label} {outcome.check} comes first")
