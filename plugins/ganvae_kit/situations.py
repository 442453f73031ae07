"""What components are tried on: small data, and small models around them."""

from __future__ import annotations

import functools
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganvae_core.config.build import Builder, conditions_of
from ganvae_core.config.configuration import LISTS, SLOTS, Configuration, Draft, Reader, configure
from ganvae_core.config.layers import nest
from ganvae_core.config.options import component_facts
from ganvae_core.data.randomness import borrowed_randomness, mixed_seed, purpose
from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_core.interfaces import Indices, Source
from ganvae_core.plugins import Catalogue
from ganvae_core.types import DataSpec, Field, Rows, Units
from ganvae_kit.offline import wanted_network
from ganvae_kit.subjects import Component, Settings

WITHOUT_SLOT = ("schedule", "optimizer", "view")
"""Kinds that no setting of a run names by itself."""
KIT = purpose("the conformance kit")
ROWS = 48
LABELS = ("a", "b", "c")
CANNOT = (RuntimeError, ValueError, IndexError)
"""What torch raises for rows of a shape that a module cannot take."""


def numbers(names: str) -> tuple[Field, ...]:
    """A field of numbers for each letter."""
    return tuple(Field(name, start=position) for position, name in enumerate(names))


IMAGE = DataSpec((1, 8, 8), (0.0, 1.0), "image", None, ROWS)
COLOUR = DataSpec((3, 8, 8), (0.0, 1.0), "image", (len(LABELS),), ROWS, classes=LABELS)
POINTS = DataSpec((2,), None, "points", None, ROWS, numbers("xy"))
TABLE = DataSpec((5,), None, "table", (len(LABELS),), ROWS, numbers("vwxyz"), LABELS)
USUAL = {"an image": IMAGE, "a labelled colour image": COLOUR, "points": POINTS, "a labelled table": TABLE}
LARGER = {
    "a larger image": replace(IMAGE, shape=(1, 28, 28)),
    "a larger colour image": replace(IMAGE, shape=(3, 32, 32)),
    "a large colour image": replace(IMAGE, shape=(3, 64, 64)),
    "a signal": DataSpec((1, 64), (-1.0, 1.0), "array", None, ROWS),
    "a long signal": DataSpec((1, 1024), (-1.0, 1.0), "array", None, ROWS),
    "a volume": DataSpec((1, 8, 8, 8), (0.0, 1.0), "array", None, ROWS),
}
"""What is tried where nothing usual is accepted."""

LATENT_SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1,), (3,), (4,), (8,), (16,), (1, 4, 4))
"""Shapes of codes that a prior is tried with, until it accepts one."""

GREY = DataSpec((1, 28, 28), (0.0, 1.0), "image", (10,), ROWS, classes=tuple("0123456789"))
DOWNLOADED = {
    "builtin/mnist": GREY,
    "builtin/fashion-mnist": GREY,
    "builtin/kmnist": GREY,
    "builtin/cifar10": replace(GREY, shape=(3, 32, 32)),
}
"""Random rows like these stand in for data that would have to be downloaded."""


PRIORS: dict[str, Settings] = {
    "real": {"prior": "builtin/normal"},
    "bounded": {"prior": "builtin/uniform"},
    "sphere": {"prior": "builtin/hypersphere"},
    "discrete": {"prior": "builtin/categorical"},
    "mixed": {
        "prior": "builtin/composite",
        "prior.parts": [
            {"name": "builtin/normal", "latent_shape": [2]},
            {"name": "builtin/categorical", "latent_shape": [2]},
        ],
    },
}
"""A prior for each support that an objective may accept."""


@contextmanager
def seeded(seed: int = 0) -> Generator[None]:
    """A stretch in which torch's default generator of the CPU starts from a seed, and after which it is as before."""
    with borrowed_randomness(torch.device("cpu")) as generator:
        generator.manual_seed(mixed_seed(KIT, seed))
        yield


class RandomRows(Source):
    """Random rows of any specification.

    Args:
        spec: what they are like.
    """

    def __init__(self, spec: DataSpec) -> None:
        self._spec = spec
        random = np.random.default_rng(0)
        count = spec.count or ROWS
        drawn = random.normal(size=(count, *spec.shape)) if spec.range is None else random.uniform(
            *spec.range, size=(count, *spec.shape)
        )  # fmt: skip
        self._x = drawn.astype(np.float32)
        self._condition: np.ndarray | None = None
        if spec.classes is not None:
            self._condition = np.arange(count) % len(spec.classes)
        elif spec.condition is not None:
            self._condition = random.normal(size=(count, *spec.condition)).astype(np.float32)

    @property
    def spec(self) -> DataSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._x)

    def rows(self, indices: Indices) -> Rows:
        return Rows(self._x[indices], self.labels(indices))

    def labels(self, indices: Indices | None = None) -> np.ndarray | None:
        return self._condition if self._condition is None or indices is None else self._condition[indices]


def x_of(data: DataSpec, rows: int) -> Tensor:
    """(rows, *X) random values within the data's range."""
    return torch.from_numpy(RandomRows(replace(data, count=rows)).rows(slice(None)).x)


def condition_of(data: DataSpec, rows: int) -> Tensor | None:
    """(rows, *K) one-hot labels, or random numbers where the condition is no label; None without one."""
    if data.condition is None:
        return None
    values = RandomRows(replace(data, count=rows)).labels()
    assert values is not None
    return (
        torch.eye(len(data.classes))[torch.from_numpy(values)] if data.classes else torch.from_numpy(values)
    )


@dataclass(frozen=True)
class Refusal:
    """Why a component does not accept a situation.

    Args:
        reason: one line.
        crash: what was raised, if it was no error of ganvae's.
        offline: whether it only wanted the network, which checks do not have.
        in_forward: whether it was made, and failed on two rows.
    """

    reason: str
    crash: Exception | None = None
    offline: bool = False
    in_forward: bool = False


@dataclass(frozen=True, eq=False)
class Situation:
    """A component with settings, and the data and codes that it has to do with.

    Args:
        component: what is made.
        name: of the data, for people.
        data: what the data is.
        latent_shape: *Z.
        settings: given by the plugin's author.
        recipe: of the plugin, whose other components it is made with; empty for the kit's own.
    """

    component: Component
    name: str
    data: DataSpec
    latent_shape: tuple[int, ...]
    settings: Settings
    recipe: str = ""

    @property
    def label(self) -> str:
        """What it is called in reports: ``objective/elbo on an image``."""
        given = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        on = f" on {self.name}" if self.name else ""
        return f"{self.component.label}{on}" + (f" with {given}" if given else "")

    @property
    def where(self) -> str:
        """The beginning of a failure's message."""
        return f"{self.label}: "

    def configuration(self, around: Settings | None = None) -> Configuration:
        """The settings around the component, itself included."""
        key = repr(around)
        if key not in self._configurations:
            self._configurations[key] = self._configured(around or {})
        return self._configurations[key]

    @functools.cached_property
    def _configurations(self) -> dict[str, Configuration]:
        return {}

    @functools.cached_property
    def model(self) -> dict[str, Any]:
        """Settings of the model that an objective has accepted; empty before."""
        return {}

    def _configured(self, around: Settings) -> Configuration:
        owner = self.component.owner
        if self.recipe:
            layer = nest(list({**around, **self.settings}.items()))
            return configure(owner.catalogue, owner.plugin.name, self.recipe, [layer])
        kind, draft = self.component.spec.kind, Draft(self.component.owner.catalogue)
        slot = next((slot for slot, of in SLOTS.items() if of == kind), None)
        named = {slot: self.component.id} if slot else {
            key: [{"name": self.component.id}] for key, of in LISTS.items() if of == kind
        }  # fmt: skip
        draft.apply(nest(list({"latent.shape": list(self.latent_shape), **around, **named}.items())))
        if kind not in WITHOUT_SLOT:
            draft.apply(nest(list(self.settings.items())))
        return draft.finish("", "", needed=())

    def make(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
        """The component, with weights that follow from the seed.

        Args:
            seed: of its weights; an encoder that it is given is the same for all.
            dtype: of that encoder.

        Raises:
            GanvaeError: it refuses the situation.
        """
        from ganvae_kit.models import objective_of, split_of

        with seeded(seed):
            if self.component.spec.kind == "objective":
                return objective_of(self, seed)
            configuration = self.configuration({"engine.seed": seed})
            catalogue = self.component.owner.catalogue
            builder = Builder(configuration, catalogue)
            if self.recipe and self.component.spec.kind != "critic":
                model = builder.model(self.data, conditions_of(split_of(self.data))).to(dtype)
                part = getattr(model, self.component.spec.kind)
                if part is None:
                    raise ConfigurationError("the recipe's objective trains no encoder, so there is none.")
                return part
            if self.component.spec.kind in WITHOUT_SLOT:
                own = {key.partition(".")[2]: value for key, value in self.settings.items()}
                given = {"name": self.component.id, **own}
                choice = Reader(catalogue).component(self.component.label, self.component.spec.kind, given)
                return builder.component(choice)
            lists = {kind: configuration.lists[key] for key, kind in LISTS.items()}
            if self.component.spec.kind in lists:
                return builder.component(lists[self.component.spec.kind][0])
            slot = next(slot for slot, kind in SLOTS.items() if kind == self.component.spec.kind)
            return builder.component(configuration.components[slot], self._facts(configuration, dtype))

    def _facts(self, configuration: Configuration, dtype: torch.dtype) -> dict[str, Any]:
        kind = self.component.spec.kind
        if kind == "source":
            return {}
        facts: dict[str, Any] = {"data": self.data, "condition_shape": self.data.condition}
        if kind != "critic":
            facts |= {
                "latent_shape": self.shape,
                "raw_shape": self.data.shape,
                "encoder": None,
            }
        if kind == "prior" and "encoder" in component_facts(self.component.target):
            facts["encoder"] = self.encoder(dtype)
        return facts

    def encoder(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The small encoder that a prior is given if it asks for one, always the same."""
        if dtype not in self._encoders:
            self._encoders[dtype] = small_encoder(self.data, self.shape).to(dtype)
        return self._encoders[dtype]

    @functools.cached_property
    def _encoders(self) -> dict[torch.dtype, nn.Module]:
        return {}

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
        from ganvae_kit.exercise import two_rows

        try:
            made = self.opened if self.component.spec.kind == "source" else self.make()
        except GanvaeError as error:
            crash = error.__cause__ if isinstance(error.__cause__, Exception) else None
            crash = None if isinstance(crash, GanvaeError) else crash
            return Refusal(error.message, crash, wanted_network(error))
        try:
            if isinstance(made, nn.Module):
                two_rows(self, made)
        except GanvaeError as error:
            return Refusal(error.message)
        except CANNOT as error:
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            return Refusal(reason, error, in_forward=True)
        return None


def opened_from(identity: str, path: Path, catalogue: Catalogue) -> Source:
    """The source of that id, opened on a path.

    Raises:
        GanvaeError: it needs further settings, or cannot read the path.
    """
    draft = Draft(catalogue)
    draft.apply({"data": {"name": identity, "path": str(path)}})
    configuration = draft.finish("", "", needed=())
    return Builder(configuration, catalogue).component(configuration.components["data"])


def small_encoder(data: DataSpec, latent_shape: Sequence[int]) -> nn.Module:
    """An encoder with a Gaussian posterior, for priors that ask for one."""
    from ganvae_core import MLPEncoder

    with seeded(2):
        return MLPEncoder(data, latent_shape, data.condition, hidden=(8,))


def situations_of(component: Component) -> list[Situation]:
    """Where a component is tried: the author's data and the usual data; larger data only where it refuses all of it."""
    kind = component.spec.kind
    given = component.owner.given
    layers = given.settings.get(component.label) or [{}]
    if kind in ("source", "metric", "callback", *WITHOUT_SLOT):
        return [Situation(component, "", IMAGE, (4,), layer) for layer in layers]
    own = {f"data {number} of yours": in_model_units(spec) for number, spec in enumerate(given.data, 1)}
    own |= component.owner.own_data
    tried: list[Situation] = []
    for layer in layers:
        usual = _first_shapes(component, {**own, **USUAL}, layer)
        if all(situation.refusal for situation in usual):
            usual += _first_shapes(component, LARGER, layer)
        if all(situation.refusal for situation in usual):
            usual = [*in_recipes(component, layer), *usual]
        tried += usual
    return tried


def in_recipes(component: Component, layer: Settings) -> list[Situation]:
    """The component within the plugin's own recipes: for components that need one another."""
    found: list[Situation] = []
    for recipe in component.owner.recipes:
        try:
            made = recipe.configured()
            source = recipe.source(made) or Builder(made, component.owner.catalogue).split().source
        except GanvaeError:
            continue  # the checks of the recipe say what is wrong with it
        if component.id in {choice.id for choice in made.components.values()}:
            spec = in_model_units(source.spec if made.data.condition else unlabelled(source.spec))
            name = f"the data of recipe {recipe.spec.name}"
            shape = spec.shape if made.latent.shape == "data" else made.latent.shape
            found.append(Situation(component, name, spec, shape, layer, recipe.spec.name))
    return found


def unlabelled(spec: DataSpec) -> DataSpec:
    """The specification without its condition."""
    return replace(spec, condition=None, classes=None)


def _first_shapes(component: Component, data: Mapping[str, DataSpec], layer: Settings) -> list[Situation]:
    """A situation for each kind of data, with the first shape of codes that the component accepts there."""
    shapes = LATENT_SHAPES if component.spec.kind in ("prior", "encoder") else ((4,), *LATENT_SHAPES)
    found: list[Situation] = []
    for name, spec in data.items():
        first: Situation | None = None
        for shape in shapes if "latent.shape" not in layer else shapes[:1]:
            situation = Situation(component, name, spec, shape, layer)
            first = first or situation
            if situation.refusal is None:
                first = situation
                break
        assert first is not None
        found.append(first)
    return found


def in_model_units(spec: DataSpec) -> DataSpec:
    """The specification of a few random rows that are like those of a source, and need no scaling."""
    return replace(spec, count=ROWS, units=Units())
