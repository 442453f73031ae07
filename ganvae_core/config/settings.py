"""The parts of a configuration: components with their options, and settings of no component."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from ganvae_core.engine.settings import EngineSettings
from ganvae_core.errors import ConfigurationError
from ganvae_core.plugins.specs import Kind

SLOTS: dict[str, Kind] = {
    "data": "source",
    "prior": "prior",
    "generator": "generator",
    "encoder": "encoder",
    "critic": "critic",
    "observation": "observation",
    "objective": "objective",
}
LISTS: dict[str, Kind] = {"metrics": "metric", "callbacks": "callback"}
OPTIONAL_SLOTS = ("encoder", "critic")
NEEDED_SLOTS = tuple(slot for slot in SLOTS if slot not in OPTIONAL_SLOTS)
KEYS = ("plugin", "recipe", "from", *SLOTS, "latent", *LISTS, "engine", "optimizers", "train", "stages")
Part = Literal["generator", "encoder", "prior", "observation"]


@dataclass(frozen=True)
class Choice:
    """A component by its full id, with all of its options, and the facts that it is given in place of the run's."""

    id: str
    options: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    kind: Kind = field(default="objective", compare=False)


@dataclass(frozen=True)
class DataSettings:
    """Settings of data that all sources share.

    Args:
        condition: whether the model is given the source's labels or other side information; or which columns of a
            table it is given.
        held_out: share of the rows kept from training, for metrics and reconstructions.
        split_seed: which rows these are; independent of engine.seed, so that runs can be compared.
    """

    condition: bool | tuple[str, ...] = False
    held_out: float = 0.1
    split_seed: int = 0


@dataclass(frozen=True)
class LatentSettings:
    """The latent space.

    Args:
        shape: of one code; ``data`` for that of the data.
    """

    shape: Literal["data"] | tuple[int, ...] = (16,)

    def __post_init__(self) -> None:
        if self.shape != "data":
            check_shape("latent.shape", self.shape)


@dataclass(frozen=True)
class InitialWeights:
    """Another run, with whose weights this one begins.

    Args:
        path: the run directory.
        step: of the checkpoint, or ``best``; null: the newest.
    """

    path: str
    step: int | Literal["best"] | None = None


@dataclass(frozen=True)
class StageSettings:
    """One of the stages after the first, on the same model.

    Args:
        objective: what is trained.
        critic: of the objective, where it has one.
        steps: global batches; 0 where the stage only fits the prior in closed form.
        train: parts of the model that are trained; null: all that the objective trains.
        optimizers: by name, as for the first stage.
    """

    objective: Annotated[Choice, "objective"]
    critic: Annotated[Choice, "critic"] | None = None
    steps: int = 0
    train: tuple[Part, ...] | None = None
    optimizers: dict[str, Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ConfigurationError(f"stages: {self.steps} steps are not possible: it must not be negative.")


@dataclass(frozen=True)
class Configuration:
    """The complete configuration of a run, with full ids and all options.

    An optimizer's options are those of its algorithm and the learning rate, schedule, warm-up and clipping together.
    ``notes`` are sentences for the person who started it, about what became of the recipe; they are not stored.
    """

    plugin: str
    recipe: str
    components: dict[str, Choice]
    lists: dict[str, tuple[Choice, ...]]
    data: DataSettings
    latent: LatentSettings
    engine: EngineSettings
    optimizers: dict[str, Choice]
    train: tuple[Part, ...] | None = None
    stages: tuple[StageSettings, ...] = ()
    initial: InitialWeights | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def plugins(self) -> frozenset[str]:
        """Names of the plugins that take part: the recipe's, and those of all components, nested ones included."""
        return frozenset((self.plugin, *_owners(self)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in ``config.yaml``."""
        slots = {slot: self.components.get(slot) for slot in SLOTS}
        tree = {
            "plugin": self.plugin,
            "recipe": self.recipe,
            "from": self.initial,
            "data": {**plain(slots.pop("data")), **plain(self.data)},
            "latent": self.latent,
            **slots,
            **self.lists,
            "engine": self.engine,
            "optimizers": self.optimizers,
            "train": self.train,
            "stages": self.stages,
        }
        return plain(tree)


def plain(value: Any) -> Any:
    """The value in the types of YAML and JSON."""
    if isinstance(value, Choice):
        return {"name": value.id, **plain(value.facts), **plain(value.options)}
    if dataclasses.is_dataclass(value):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def choices(value: Any) -> Iterator[Choice]:
    """All components in a value, nested ones included."""
    if isinstance(value, Choice):
        yield value
        value = value.options
    if dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from choices(item)


def with_absolute_path(configuration: Configuration) -> Configuration:
    """The same, with paths of data and of the initial run that hold in every folder: for what is stored."""
    data, initial = configuration.components["data"], configuration.initial
    if initial is not None:
        initial = replace(initial, path=str(Path(initial.path).absolute()))
    components = {**configuration.components, "data": _with_absolute_path(data)}
    return replace(configuration, components=components, initial=initial)


def check_shape(key: str, shape: tuple[int, ...]) -> None:
    """Refuse an impossible latent shape.

    Raises:
        ConfigurationError: it is empty, or a size is below 1.
    """
    if not shape or any(size < 1 for size in shape):
        raise ConfigurationError(
            f"{key}: {list(shape)} is not possible: it takes one or more sizes of at least 1, like [16]."
        )


def _owners(configuration: Configuration) -> Iterator[str]:
    for choice in choices(configuration):
        yield choice.id.partition("/")[0]


def _with_absolute_path(source: Choice) -> Choice:
    options = dict(source.options)
    for name, value in options.items():
        if isinstance(value, Choice):
            options[name] = _with_absolute_path(value)
        elif name == "path" and value:
            options[name] = str(Path(value).absolute())
    return replace(source, options=options)
