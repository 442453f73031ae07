"""Situations: a component with settings, data and codes, in which it is made and tried."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganvae_core.config.build import Builder, conditions_of
from ganvae_core.config.configuration import SLOTS, Configuration, Draft, Reader, configure
from ganvae_core.config.layers import nest
from ganvae_core.config.options import component_facts
from ganvae_core.engine.loop import Engine
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_core.interfaces import FittedPrior, Source
from ganvae_core.plugins import Catalogue
from ganvae_core.training import Objective
from ganvae_core.types import DataSpec
from ganvae_kit.checks import CheckFailure
from ganvae_kit.data import IMAGE, LARGER, USUAL, condition_of, in_model_units, seeded, split_of, x_of
from ganvae_kit.models import ENGINE, Settings, models_for, phases_of, small_encoder
from ganvae_kit.places import Place, place_in_traceback

if TYPE_CHECKING:
    from ganvae_kit.subjects import Component

SLOT_OF = {kind: slot for slot, kind in SLOTS.items()}
"""The key of a configuration that names a component, by its kind. Other kinds are made by themselves."""
CANNOT = (RuntimeError, ValueError, IndexError)
"""What torch raises for rows of a shape that a module cannot take."""
LATENT_SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1,), (3,), (4,), (8,), (16,), (1, 4, 4))
"""Shapes of codes that a component is tried with, until it accepts one."""


@dataclass(frozen=True)
class Refusal:
    """Why a component does not accept a situation.

    Args:
        reason: one line.
        crash: what was raised, if it was no error of ganvae's.
        in_forward: whether it was made, and failed on two rows.
    """

    reason: str
    crash: Exception | None = None
    in_forward: bool = False


@dataclass(eq=False)
class Situation:
    """A component with settings, and the data and codes that it has to do with.

    Args:
        component: what is made.
        name: of the data, for people.
        data: what the data is.
        latent_shape: *Z.
        settings: given by the plugin's author.
        recipe: of the plugin, whose other components it is made with; empty for the kit's own.
        model: settings of the model that an objective has accepted; None before.
    """

    component: Component
    name: str
    data: DataSpec
    latent_shape: tuple[int, ...]
    settings: Settings
    recipe: str = ""
    model: Settings | None = field(default=None, init=False)

    @property
    def label(self) -> str:
        """What it is called in reports: ``objective/elbo on an image``."""
        given = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        on = f" on {self.name}" if self.name else ""
        return f"{self.component.label}{on}" + (f" with {given}" if given else "")

    @property
    def place(self) -> Place | None:
        """Where the component's class begins."""
        return self.component.place

    def configuration(self, around: Settings | None = None) -> Configuration:
        """The settings around the component, itself included."""
        key = repr(around)
        if key not in self._configurations:
            self._configurations[key] = self._configured(around or {})
        return self._configurations[key]

    @functools.cached_property
    def _configurations(self) -> dict[str, Configuration]:
        return {}

    def _configured(self, around: Settings) -> Configuration:
        owner, kind = self.component.owner, self.component.spec.kind
        if self.recipe:
            layer = nest(list({**around, **self.settings}.items()))
            return configure(owner.catalogue, owner.plugin.name, self.recipe, [layer])
        draft = Draft(owner.catalogue)
        named = {SLOT_OF[kind]: self.component.id} if kind in SLOT_OF else {}
        draft.apply(nest(list({"latent.shape": list(self.latent_shape), **around, **named}.items())))
        if kind in SLOT_OF:
            draft.apply(nest(list(self.settings.items())))
        return draft.finish("", "", needed=())

    def make(self, seed: int = 0) -> Any:
        """The component, with weights that follow from the seed; an encoder that it is given is the same for all.

        Raises:
            GanvaeError: it refuses the situation.
        """
        kind, catalogue = self.component.spec.kind, self.component.owner.catalogue
        with seeded(seed):
            if kind == "objective":
                return objective_of(self, seed)
            configuration = self.configuration({"engine.seed": seed})
            builder = Builder(configuration, catalogue)
            if kind not in SLOT_OF:
                options = {key.partition(".")[2]: value for key, value in self.settings.items()}
                given = {"name": self.component.id, **options}
                return builder.component(Reader(catalogue).component(self.component.label, kind, given))
            if not self.recipe or kind == "critic":
                return builder.component(configuration.components[SLOT_OF[kind]], self._facts())
            model = builder.model(self.data, conditions_of(split_of(self.data)))
            part = getattr(model, kind)
            if part is None:
                raise ConfigurationError("the recipe's objective trains no encoder, so there is none.")
            return part

    def _facts(self) -> dict[str, Any]:
        kind = self.component.spec.kind
        facts: dict[str, Any] = {"data": self.data, "condition_shape": self.data.condition}
        if kind == "source":
            return {}
        if kind == "critic":
            return facts
        asks = kind == "prior" and "encoder" in component_facts(self.component.target)
        encoder = small_encoder(self.data, self.shape) if asks else None
        return {**facts, "latent_shape": self.shape, "raw_shape": self.data.shape, "encoder": encoder}

    @functools.cached_property
    def opened(self) -> Source:
        """The source, opened once: it is only read."""
        return self.make()

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """*Z as it is, the author's settings included."""
        shape = self.configuration().latent.shape
        return self.data.shape if shape == "data" else shape

    @functools.cached_property
    def refusal(self) -> Refusal | None:
        """Why the component cannot be made here, or cannot take two rows; None where it can."""
        try:
            made = self.opened if self.component.spec.kind == "source" else self.make()
        except GanvaeError as error:
            crash = error.__cause__ if isinstance(error.__cause__, Exception) else None
            crash = None if isinstance(crash, GanvaeError) else crash
            return Refusal(error.message, crash)
        try:
            if isinstance(made, nn.Module):
                self._run_two_rows(made)
        except GanvaeError as error:
            return Refusal(error.message)
        except CANNOT as error:
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            return Refusal(reason, error, in_forward=True)
        return None

    def _run_two_rows(self, made: Any) -> None:
        kind = self.component.spec.kind
        if kind == "objective" or isinstance(made, FittedPrior):
            return
        with torch.no_grad(), seeded():
            inputs = Inputs.of(self, made.eval(), 2)
            if kind == "prior":
                made.sample(2, inputs.condition)
            else:
                made(inputs.main, *([] if kind == "observation" else [inputs.condition]))


@dataclass(frozen=True)
class Inputs:
    """The inputs of a component: z, x or raw as ``main``, (B, *X) data, and (B, *K) conditions or None."""

    main: Tensor
    x: Tensor
    condition: Tensor | None

    @classmethod
    def of(cls, situation: Situation, made: Any, rows: int) -> Inputs:
        """Random inputs, the same each time."""
        kind, data = situation.component.spec.kind, situation.data
        x = main = x_of(data, rows)
        if kind not in ("encoder", "critic"):
            shape = tuple(made.raw_shape(data)) if kind == "observation" else situation.shape
            main = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(1))
        return cls(main, x, condition_of(data, rows))

    def each(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        """The inputs with each tensor changed."""
        condition = None if self.condition is None else change(self.condition)
        return Inputs(change(self.main), change(self.x), condition)


def situations(component: Component) -> list[Situation]:
    """The situations that a component accepts."""
    return component.situations


def opened_from(identity: str, path: Path, catalogue: Catalogue) -> Source:
    """The source of that id, opened on a path.

    Raises:
        GanvaeError: it needs further settings, or cannot read the path.
    """
    draft = Draft(catalogue)
    draft.apply({"data": {"name": identity, "path": str(path)}})
    configuration = draft.finish("", "", needed=())
    return Builder(configuration, catalogue).component(configuration.components["data"])


def situations_of(component: Component) -> list[Situation]:
    """Where a component is tried: the author's data and the usual data; larger data only where it refuses all of it."""
    given = component.owner.given
    layers = given.settings.get(component.label) or [{}]
    if component.spec.kind not in SLOT_OF or component.spec.kind == "source":
        return [Situation(component, "", IMAGE, (4,), layer) for layer in layers]
    own = {f"data {number} of yours": in_model_units(spec) for number, spec in enumerate(given.data, 1)}
    tried: list[Situation] = []
    for layer in layers:
        found = _first_shapes(component, {**own, **component.owner.own_data, **USUAL}, layer)
        if all(situation.refusal for situation in found):
            found += _first_shapes(component, LARGER, layer)
        if all(situation.refusal for situation in found):
            found = [*_in_recipes(component, layer), *found]
        tried += found
    return tried


def _first_shapes(component: Component, data: Mapping[str, DataSpec], layer: Settings) -> list[Situation]:
    """A situation for each kind of data, with the first shape of codes that the component accepts there."""
    shapes = LATENT_SHAPES if component.spec.kind in ("prior", "encoder") else ((4,), *LATENT_SHAPES)
    shapes = shapes[:1] if "latent.shape" in layer else shapes
    found: list[Situation] = []
    for name, spec in data.items():
        tried = [Situation(component, name, spec, shape, layer) for shape in shapes]
        found.append(next((situation for situation in tried if situation.refusal is None), tried[0]))
    return found


def _in_recipes(component: Component, layer: Settings) -> list[Situation]:
    """The component within the plugin's own recipes: for components that need one another."""
    found: list[Situation] = []
    for recipe in component.owner.recipes:
        try:
            made = recipe.configured()
            source = recipe.source(made) or Builder(made, component.owner.catalogue).split().source
        except GanvaeError:
            continue  # the checks of the recipe say what is wrong with it
        if component.id in {choice.id for choice in made.components.values()}:
            data = in_model_units(source.spec)
            data = data if made.data.condition else replace(data, condition=None, classes=None)
            shape = data.shape if made.latent.shape == "data" else made.latent.shape
            name = f"the data of recipe {recipe.spec.name}"
            found.append(Situation(component, name, data, shape, layer, recipe.spec.name))
    return found


def objective_of(situation: Situation, seed: int = 0) -> Objective:
    """The objective around the smallest model that it accepts, with weights that follow from the seed.

    Raises:
        GanvaeError: it accepts none; of several refusals the last, which is that of the model that offers most.
        CheckFailure: the engine can do nothing with its phases.
    """
    found = situation.model is not None or situation.recipe
    refusal: GanvaeError | CheckFailure | None = None
    for around in [situation.model or {}] if found else models_for(situation.component.target):
        configuration = situation.configuration({**around, "engine.seed": seed})
        builder = Builder(configuration, situation.component.owner.catalogue)
        try:
            objective = builder.objective(situation.data, conditions_of(split_of(situation.data)))
            _check_phases(situation, objective)
        except GanvaeError as error:
            refusal = refusal if isinstance(refusal, CheckFailure) else error
        except CheckFailure as failure:
            refusal = failure
        else:
            situation.model = around  # no other has to be tried the next time
            return objective
    assert refusal is not None
    raise refusal


def _check_phases(situation: Situation, objective: Objective) -> None:
    """Prepare the phases. An objective itself refuses data that is not for it; what the engine refuses is a mistake.

    Raises:
        CheckFailure: the engine can do nothing with its phases.
    """
    try:
        phases_of(objective)
    except (GanvaeError, TypeError) as error:
        if place_in_traceback(error, situation.component.owns) is not None:
            raise
        raise CheckFailure.of(error) from error


def engine_of(situation: Situation, steps: int, seed: int = 0, saver: Any = None) -> Engine:
    """An engine with a fresh objective, on the CPU in fp32, which logs each step."""
    settings = EngineSettings(steps=steps, **ENGINE)
    return Engine(situation.make(seed), split_of(situation.data), settings, saver=saver)
