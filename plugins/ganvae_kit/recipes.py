"""Checks of recipes: they can be read, train for a few steps on a CPU, and go on where they were broken off."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ganvae_core.config.configuration import KEYS, Configuration, stored
from ganvae_core.config.layers import parse_yaml
from ganvae_core.config.render import render
from ganvae_core.errors import GanvaeError
from ganvae_core.runs.preparation import Preparation, prepare
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.writer import CheckpointWriter
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.objectives import causes_first, place_of_attribute
from ganvae_kit.places import Place, place_of_text, quoted
from ganvae_kit.state import changed, remembered
from ganvae_kit.subjects import Recipe

STEPS = 4
SHORT: dict[str, Any] = {
    "engine.steps": STEPS, "engine.batch_size": 16, "engine.device": "cpu", "engine.precision": "fp32",
    "engine.log_every": 1, "engine.checkpoint_every": STEPS // 2, "engine.samples_every": 0,
}  # fmt: skip


@check("recipe")
def configuration(recipe: Recipe) -> None:
    """Its file is a complete configuration of components and options that there are, and goes through config.yaml."""
    wait_for_components(recipe, ("target", "options", "facts"))
    made = _configured(recipe)
    again = stored(recipe.owner.catalogue, parse_yaml(render(made), "config.yaml"))
    if again != made:
        raise CheckFailure(
            "the configuration that it makes is another when it is read from config.yaml", _first(recipe)
        )


@check("recipe", needs=["configuration"])
def smoke_run(recipe: Recipe) -> None:
    """It trains for a few steps on the CPU, and then samples what is finite, of the data's shape and in its range."""
    wait_for_components(recipe)
    prepared = _prepared(recipe)
    try:
        prepared.stages.fit_stage()
    except Exception as error:
        raise _failure(recipe, error) from error
    spec = prepared.data.spec
    with torch.no_grad():
        made = prepared.engine.model.sample(5)
    if tuple(made.shape) != (5, *spec.shape) or not made.isfinite().all():
        found = f"five samples have the shape {tuple(made.shape)}, or are not finite"
        raise CheckFailure(f"{recipe.label}: {found}", _first(recipe))
    low, high = spec.range or (-float("inf"), float("inf"))
    if not ((made >= low) & (made <= high)).all():
        raise CheckFailure(f"{recipe.label}: samples are beyond the data's range {spec.range}",
                           place_of_text(recipe.file or "", "observation") or _first(recipe))  # fmt: skip


@check("recipe", needs=["smoke-run"])
def recipe_resume(recipe: Recipe) -> None:
    """A run of it that is broken off and gone on with from its checkpoint ends bit for bit as one that was not."""
    wait_for_components(recipe)
    whole = _prepared(recipe).engine.fit()
    with tempfile.TemporaryDirectory() as folder:
        first = _prepared(recipe).engine
        first.saver = CheckpointWriter(folder)
        first.fit()
        resumed = _prepared(recipe).engine
        with torch.no_grad():  # other weights: what is restored is all that counts
            for parameter in (*resumed.objective.parameters(), *resumed.model.parameters()):
                parameter.add_(1.0)
        resumed.restore(read_checkpoint(Path(folder, "checkpoints", f"step-{STEPS // 2:06d}")))
        resumed.fit()
    moved = changed(remembered(whole.objective), remembered(resumed.objective))
    if moved:
        moved = causes_first(whole.objective, moved)
        place = place_of_attribute(whole.objective, moved[0])
        raise CheckFailure(
            f"{recipe.label}: after a break, {moved[0]} is not what it is without one",
            place if place and recipe.owns(place.file) else _first(recipe),
        )


def wait_for_components(recipe: Recipe, checks: Sequence[str] = ()) -> None:
    """A recipe made of components that have failed by themselves would only fail with them.

    Raises:
        NotChecked: there is one.
    """
    for component in recipe.owner.components:
        for outcome in component.outcomes.values():
            if outcome.state == "failed" and (not checks or outcome.check in checks):
                raise NotChecked(f"{component.label} {outcome.check} comes first")


def _configured(recipe: Recipe, **changes: Any) -> Configuration:
    """The recipe's configuration.

    Raises:
        CheckFailure: it cannot be read; the failure names the line of the file.
    """
    try:
        return recipe.configured(**changes)
    except GanvaeError as error:
        raise CheckFailure.of(error, _line_of(recipe, error), where=recipe.label) from None


def _prepared(recipe: Recipe) -> Preparation:
    made = _configured(recipe, **SHORT)
    try:
        return prepare(made, recipe.owner.catalogue, recipe.source(made))
    except NotChecked:
        raise
    except Exception as error:
        raise _failure(recipe, error) from error


def _failure(recipe: Recipe, error: Exception) -> CheckFailure:
    return CheckFailure.of(error, _line_of(recipe, error), where=recipe.label, owns=recipe.owns)


def _line_of(recipe: Recipe, error: Exception) -> Place | None:
    """The line of the recipe's file that an error is about."""
    if recipe.file is None:
        return None
    message = str(error).splitlines()[0]
    key = message.partition(":")[0].strip()
    texts = [*quoted(message), key.rpartition(".")[2], key.partition(".")[0]]
    slots = [
        f"{word}:" for word in re.findall(r"\w+", message) if word in KEYS
    ]  # "a Bernoulli observation needs …"
    return place_of_text(recipe.file, *(text for text in texts if text), *slots) or _first(recipe)


def _first(recipe: Recipe) -> Place | None:
    return None if recipe.file is None else Place(str(recipe.file), 1)
