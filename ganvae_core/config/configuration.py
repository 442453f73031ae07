"""The one checked configuration of a run, from a recipe, a file and overrides."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ganvae_core.config.layers import is_null, parse_yaml
from ganvae_core.config.options import (
    REQUIRED,
    Option,
    Text,
    component_options,
    convert,
    own_facts,
    settings_options,
)
from ganvae_core.engine.settings import EngineSettings, OptimizerSettings
from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.plugins import Catalogue
from ganvae_core.plugins.specs import Kind
from ganvae_core.store.files import refuse_pickle

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
KEYS = ("plugin", "recipe", *SLOTS, "latent", *LISTS, "engine", "optimizers")
IN_MEMORY = "builtin/array"


@dataclass(frozen=True)
class Choice:
    """A component by its full id, with all of its options, and the facts that it is given in place of the run's."""

    id: str
    options: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSettings:
    """What a run takes of its data, whatever the source.

    Args:
        condition: whether the model is given the source's labels or other side information.
        held_out: share of the rows that training never sees, for metrics and reconstructions.
        split_seed: which rows these are; independent of engine.seed, so that runs can be compared.
    """

    condition: bool = False
    held_out: float = 0.1
    split_seed: int = 0


@dataclass(frozen=True)
class LatentSettings:
    """The latent space.

    Args:
        shape: of one code.
    """

    shape: tuple[int, ...] = (16,)

    def __post_init__(self) -> None:
        _check_shape("latent.shape", self.shape)


@dataclass(frozen=True)
class Configuration:
    """Everything that a run is made from, with full ids and every option spelt out.

    ``notes`` are sentences for the person who started it, about what became of the recipe; they are not stored.
    """

    plugin: str
    recipe: str
    components: dict[str, Choice]
    lists: dict[str, tuple[Choice, ...]]
    data: DataSettings
    latent: LatentSettings
    engine: EngineSettings
    optimizers: dict[str, OptimizerSettings]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def plugins(self) -> frozenset[str]:
        """Names of the plugins that take part: the recipe's, and those of all components, nested ones included."""
        return frozenset((self.plugin, *_owners((self.components, self.lists))))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in ``config.yaml``."""
        tree: dict[str, Any] = {"plugin": self.plugin, "recipe": self.recipe}
        for slot in SLOTS:
            if slot in self.components:
                choice = self.components[slot]
                common = dataclasses.asdict(self.data) if slot == "data" else {}
                tree[slot] = {**_plain(choice), **common}
            else:
                tree[slot] = None
            if slot == "data":
                tree["latent"] = _plain(dataclasses.asdict(self.latent))
        for name, choices in self.lists.items():
            tree[name] = _plain(choices)
        tree["engine"] = _plain(dataclasses.asdict(self.engine))
        tree["optimizers"] = {
            name: _plain(dataclasses.asdict(settings)) for name, settings in self.optimizers.items()
        }
        return tree


def _owners(value: Any) -> Iterator[str]:
    """The plugins of all components in a value."""
    if isinstance(value, Choice):
        yield value.id.partition("/")[0]
        yield from _owners(value.options)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _owners(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _owners(item)


def with_absolute_path(configuration: Configuration) -> Configuration:
    """The same, the paths of its data such that they are found from every folder: for what is stored."""
    found = _with_absolute_path(configuration.components["data"])
    return replace(configuration, components={**configuration.components, "data": found})


def _with_absolute_path(source: Choice) -> Choice:
    options = dict(source.options)
    for name, value in options.items():
        if isinstance(value, Choice):
            options[name] = _with_absolute_path(value)
        elif name == "path" and value:
            options[name] = str(Path(value).absolute())
    return replace(source, options=options)


class Draft:
    """A configuration in the making: layers are applied one after the other, then it is finished.

    Args:
        catalogue: where components are looked up.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._names: dict[str, str] = {}
        self._options: dict[str, dict[str, Any]] = {}
        self._items: dict[str, tuple[Choice, ...]] = dict.fromkeys(LISTS, ())
        self._groups: dict[str, dict[str, Any]] = {"latent": {}, "engine": {}, "data": {}}
        self._optimizers: dict[str, dict[str, Any]] = {}
        self._discarded: dict[str, tuple[str, dict[str, Any]]] = {}

    def apply(self, layer: Mapping[str, Any], *, plugin: str | None = None) -> None:
        """Lay one layer over those before it.

        Args:
            layer: nested settings, as ``parse_yaml`` and ``parse_overrides`` give them.
            plugin: whose recipe this is: its own short names come first.

        Raises:
            ConfigurationError: an unknown key, name or option, or a value of the wrong type.
            PluginError: a component's plugin is not ready.
        """
        for key, value in layer.items():
            if key not in KEYS:
                raise ConfigurationError(f"there is no setting '{key}'.{_meant(key)}",
                                         f"there are: {', '.join(KEYS)}")  # fmt: skip
            if key in SLOTS:
                self._apply_slot(key, value, plugin)
            elif key in LISTS:
                self._items[key] = self._read_list(key, value, plugin)
            elif key == "latent":
                self._apply_group("latent", LatentSettings, value)
            elif key == "engine":
                self._apply_group("engine", EngineSettings, value)
            elif key == "optimizers":
                self._apply_optimizers(value)

    def finish(self, plugin: str, recipe: str, *, needed: Sequence[str] = NEEDED_SLOTS) -> Configuration:
        """The complete configuration, every option with its value.

        Args:
            plugin: whose recipe it is.
            recipe: its name.
            needed: the slots that must be filled; less than these do for looking at data alone.

        Raises:
            ConfigurationError: a component or a required option is missing.
        """
        for slot in needed:
            if slot not in self._names:
                raise ConfigurationError(f"{slot}: this configuration names none.", f"add one:  {slot}=NAME",
                                         f"ganvae components {SLOTS[slot]} lists what there is")  # fmt: skip
        components = {
            slot: Choice(name, self._complete(slot, SLOTS[slot], name, self._options[slot]))
            for slot, name in self._names.items()
        }
        # A named optimizer differs from the default in what was said of it alone.
        default = self._optimizers.get("default", {})
        optimizers = {
            name: OptimizerSettings(**{**default, **values}) for name, values in self._optimizers.items()
        }
        return Configuration(
            plugin,
            recipe,
            components,
            dict(self._items),
            DataSettings(**self._groups["data"]),
            LatentSettings(**self._groups["latent"]),
            EngineSettings(**self._groups["engine"]),
            {"default": OptimizerSettings(**default), **optimizers},
            tuple(self._lost_options(components)),
        )

    def _apply_slot(self, slot: str, value: Any, plugin: str | None) -> None:
        """Name first, then options: another component's name discards the options of the one before."""
        if is_null(value):
            if slot not in OPTIONAL_SLOTS:
                raise ConfigurationError(f"{slot}: a run cannot be without one.")
            self._names.pop(slot, None)
            return
        given = dict(value) if isinstance(value, Mapping) else {"name": value}
        if "name" in given:
            name = given.pop("name")
            chosen, implied = self._chosen(SLOTS[slot], str(name), plugin)
            before = self._names.get(slot)
            if before != chosen:
                if before is not None:
                    self._discarded[slot] = (before, self._options[slot])
                self._options[slot] = {}
            self._names[slot] = chosen
            given = {**implied, **given}
        if slot == "data":
            common = settings_options(DataSettings)
            for key in common.keys() & given.keys():
                self._groups["data"][key] = convert(common[key], given.pop(key), f"data.{key}")
        if slot not in self._names:
            if not given:
                return
            raise ConfigurationError(f"{slot}.{next(iter(given))}: there is no {slot} here that it could be for.",
                                     f"choose one:  {slot}=NAME")  # fmt: skip
        options = self._options[slot]
        for key, item in self._read_options(
            slot, SLOTS[slot], self._names[slot], given, plugin, options
        ).items():
            options[key] = item

    def _lost_options(self, components: Mapping[str, Choice]) -> Iterator[str]:
        """What was set for a component, and another one in its place could have as well, has not and is not told."""
        for slot in [slot for slot in components if slot in self._discarded]:
            before, options = self._discarded[slot]
            now = components[slot]
            lost = {
                name: value
                for name, value in options.items()
                if name in now.options and now.options[name] != value and name not in self._options[slot]
            }
            if lost:
                settings = [f"{name}={_typed_out(value)}" for name, value in lost.items()]
                yield (
                    f"{slot}={now.id} does not take over {' '.join(settings)} of {before};"
                    f" to keep it:  {' '.join(f'{slot}.{setting}' for setting in settings)}"
                )

    def _chosen(self, kind: Kind, name: str, plugin: str | None) -> tuple[str, dict[str, Any]]:
        """The full id for a name, and the options that the name itself gives: the path, for data."""
        if kind == "source":
            return self._data_source(name, plugin)
        return self.catalogue.component(kind, name, plugin=plugin)[0], {}

    def _data_source(self, name: str, plugin: str | None) -> tuple[str, dict[str, Any]]:
        """A source's name, or else a path, whose ending tells which source reads it."""
        if not name.strip():
            raise ConfigurationError("data: its name is empty; give a source's name or a path.")
        known = {identity for identity, _, _ in self.catalogue.components("source")}
        if name in known or name in {identity.partition("/")[2] for identity in known}:
            return self.catalogue.component("source", name, plugin=plugin)[0], {}
        path = Path(name).expanduser()
        refuse_pickle(
            path, "data", ConfigurationError, "store its array:  np.save('x.npy', x)   then  --data x.npy"
        )
        readers = self.catalogue.sources_reading(name, plugin)
        if len(readers) == 1 and (path.exists() or path.suffix or "/" in name):
            return readers[0], {"path": str(path)}
        if len(readers) > 1:
            raise ConfigurationError(f"data: more than one source reads '{name}': {', '.join(readers)}.",
                                     f"choose one:  data.name={readers[0]} data.path={name}")  # fmt: skip
        names = sorted(identity.partition("/")[2] for identity in known)
        hint = f"sources: {', '.join(names)}; or the path of a folder of images, .npy, .npz, IDX, .csv or .parquet"
        if path.exists():
            raise ConfigurationError(f"data: no source reads files like '{name}'.", hint)
        raise ConfigurationError(
            f"data: there is no source and no file '{name}'.{did_you_mean(name, names)}", hint
        )

    def _read_options(
        self,
        key: str,
        kind: Kind,
        identity: str,
        given: Mapping[str, Any],
        plugin: str | None,
        current: Mapping[str, Any],
        facts: Mapping[str, Option] | None = None,
    ) -> dict[str, Any]:
        options = {**self._options_of(kind, identity), **(facts or {})}
        converted: dict[str, Any] = {}
        for name, value in given.items():
            if name not in options:
                raise ConfigurationError(*_no_such_option(key, identity, name, options, current))
            option = options[name]
            where = f"{key}.{name}"
            if option.kind is None or (option.optional and is_null(value)):
                converted[name] = convert(option, value, where)
                if name == "path" and kind == "source" and converted[name]:
                    converted[name] = str(Path(converted[name]).expanduser())
            elif option.many:
                converted[name] = [
                    self._nested(f"{where}[{position}]", option.kind, item, plugin, option.own_shape)
                    for position, item in enumerate(_items(where, value))
                ]
            else:
                converted[name] = self._nested(where, option.kind, value, plugin, option.own_shape)
        return converted

    def _nested(
        self, key: str, kind: Kind, value: Any, plugin: str | None, own_shape: bool = False
    ) -> Choice:
        """A component inside a component's options: a composite prior's part, say."""
        if isinstance(value, Text) and value.startswith("{"):  # typed: {name: folder, path: scans}
            value = parse_yaml(f"item: {value}", key)["item"]
        given = dict(value) if isinstance(value, Mapping) else {"name": value}
        if "name" not in given:
            raise ConfigurationError(f"{key}: a {kind} is given by its name, like {{name: NAME}}.",
                                     f"ganvae components {kind} lists what there is")  # fmt: skip
        identity, implied = self._chosen(kind, str(given.pop("name")), plugin)
        given = {**implied, **given}
        _, spec = self.catalogue.component(kind, identity)
        known = own_facts(self.catalogue.load(spec))
        options = self._read_options(key, kind, identity, given, plugin, {}, known)
        facts = {name: options.pop(name) for name in known if name in options}
        if "latent_shape" in facts:
            _check_shape(f"{key}.latent_shape", facts["latent_shape"])
        elif own_shape and known:
            raise ConfigurationError(
                f"{key}.latent_shape must be given: each {kind} there has a shape of its own.",
                f"for example:  {{name: {identity.partition('/')[2]}, latent_shape: [8]}}",
            )
        return Choice(identity, self._complete(key, kind, identity, options), facts)

    def _read_list(self, key: str, value: Any, plugin: str | None) -> tuple[Choice, ...]:
        """A list of components replaces the list of the layer before."""
        items = () if is_null(value) else _items(key, value)
        return tuple(
            self._nested(f"{key}[{position}]", LISTS[key], item, plugin)
            for position, item in enumerate(items)
        )

    def _apply_group(self, key: str, settings: type, value: Any) -> None:
        self._groups[key] |= _read_settings(key, settings, value, self._groups[key])

    def _apply_optimizers(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                "optimizers: it takes settings by name, like optimizers.default.lr=1e-3."
            )
        for name, given in value.items():
            if is_null(given):
                self._optimizers.pop(name, None)
                continue
            given = given if isinstance(given, Mapping) else {"name": given}
            current = self._optimizers.setdefault(name, {})
            inherited = {**self._optimizers.get("default", {}), **current}
            current |= _read_settings(f"optimizers.{name}", OptimizerSettings, given, inherited)

    def _options_of(self, kind: Kind, identity: str) -> Mapping[str, Option]:
        _, spec = self.catalogue.component(kind, identity)
        return component_options(self.catalogue.load(spec))

    def _complete(self, key: str, kind: Kind, identity: str, given: Mapping[str, Any]) -> dict[str, Any]:
        complete: dict[str, Any] = {}
        for name, option in self._options_of(kind, identity).items():
            if name in given:
                complete[name] = given[name]
            elif option.default is REQUIRED:
                value = "[{name: NAME, latent_shape: [8]}]" if option.own_shape else "VALUE"
                raise ConfigurationError(f"{key}.{name} must be given: '{identity}' needs it ({option.type_name}).",
                                         f"add:  {key}.{name}={value}")  # fmt: skip
            else:
                complete[name] = option.default
        return complete


def _check_shape(key: str, shape: tuple[int, ...]) -> None:
    if not shape or any(size < 1 for size in shape):
        raise ConfigurationError(
            f"{key}: {list(shape)} is not possible: it takes one or more sizes of at least 1, like [16]."
        )


def _items(key: str, value: Any) -> Sequence[Any]:
    """The parts of a list of components, which may have been typed: ``[elbo, {name: reconstruction}]``."""
    if isinstance(value, Text):
        text = value if value.startswith("[") else f"[{value}]"
        value = parse_yaml(f"items: {text}", key)["items"]
    return value if isinstance(value, list | tuple) else [value]


def _read_settings(key: str, settings: type, value: Any, current: Mapping[str, Any]) -> dict[str, Any]:
    options = settings_options(settings)
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{key}: it takes settings by name, like {key}.{next(iter(options))}=VALUE.")
    converted: dict[str, Any] = {}
    for name, item in value.items():
        if name not in options:
            raise ConfigurationError(*_no_such_option(key, key, name, options, current))
        converted[name] = convert(options[name], item, f"{key}.{name}")
    return converted


def _no_such_option(
    key: str, owner: str, name: str, options: Mapping[str, Option], current: Mapping[str, Any]
) -> tuple[str, ...]:
    near = did_you_mean(name, options)
    if near:
        option = next(option for option in options.values() if f"'{option.name}'" in near)
        now = current.get(option.name, option.default)
        value = "" if now is REQUIRED else f", now {'null' if now is None else _plain(now)}"
        near = f"{near[:-1]} ({option.type_name}{value})?"
    listing = f"it has: {', '.join(options)}" if options else "it has no options"
    if name == "latent_shape":
        listing = "the latent shape of a run is a setting of its own:  latent.shape=[16]"
    return f"{key}.{name}: '{owner}' has no option '{name}'.{near}", "" if near else listing


def _typed_out(value: Any) -> str:
    """The value as a person would type it."""
    plain = _plain(value)
    return json.dumps(plain) if isinstance(plain, bool | list | dict | None) else str(plain)


def _plain(value: Any) -> Any:
    """The value as YAML and JSON know it."""
    if isinstance(value, Choice):
        return {"name": value.id, **_plain(value.facts), **_plain(value.options)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def configure(
    catalogue: Catalogue, plugin: str, recipe: str | None, layers: Sequence[Mapping[str, Any]]
) -> Configuration:
    """Defaults, the plugin's recipe, then the layers, each over the one before.

    Raises:
        ConfigurationError, PluginError: as ``Draft.apply`` and ``Draft.finish``.
    """
    spec, text = catalogue.recipe(plugin, recipe)
    draft = Draft(catalogue)
    draft.apply(parse_yaml(text, f"recipe {plugin}/{spec.name}"), plugin=plugin)
    for layer in layers:
        draft.apply(layer)
    return draft.finish(plugin, spec.name)


def stored(
    catalogue: Catalogue, tree: Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> Configuration:
    """The configuration that a run's ``config.yaml`` holds, with changes over it: complete, so no recipe is asked."""
    draft = Draft(catalogue)
    draft.apply(tree)
    draft.apply(changes or {})
    return draft.finish(str(tree.get("plugin", "")), str(tree.get("recipe", "")))


def _meant(key: str) -> str:
    """The setting that somebody may have meant by a name that is none."""
    of_engine = {field.name for field in dataclasses.fields(EngineSettings)}
    return f" Did you mean 'engine.{key}'?" if key in of_engine else did_you_mean(key, KEYS)
