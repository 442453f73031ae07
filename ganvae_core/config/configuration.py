"""Recipe, file and overrides, read layer by layer into the one checked configuration of a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvae_core.config.layers import Text, as_tree, is_null, parse_yaml
from ganvae_core.config.options import (
    REQUIRED,
    Option,
    component_options,
    convert,
    own_facts,
    settings_options,
    with_article,
)
from ganvae_core.config.settings import (
    KEYS,
    LISTS,
    NEEDED_SLOTS,
    OPTIONAL_SLOTS,
    SLOTS,
    Choice,
    Configuration,
    DataSettings,
    InitialWeights,
    LatentSettings,
    StageSettings,
    check_shape,
    plain,
    with_absolute_path,
)
from ganvae_core.engine.optimizers import DEFAULT, OptimizerSettings
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.plugins import Catalogue
from ganvae_core.plugins.specs import Kind
from ganvae_core.store.files import refuse_pickle

__all__ = [
    "IN_MEMORY", "KEYS", "LISTS", "SLOTS", "Choice", "Configuration", "DataSettings", "Draft",
    "LatentSettings", "Reader",
    "StageSettings", "configure", "sampling_options", "stored", "with_absolute_path", "with_sampling_options",
]  # fmt: skip

IN_MEMORY = "builtin/array"
ADAM = "builtin/adam"
OF_DATA = settings_options(DataSettings)
"""Options of data that all sources share."""
OF_OPTIMIZERS = {
    name: option for name, option in settings_options(OptimizerSettings).items() if name != "optimizer"
}
"""Options of an optimizer that all algorithms share."""
GROUPS: Mapping[str, type] = {"latent": LatentSettings, "engine": EngineSettings}


@dataclass(frozen=True)
class Reader:
    """Reads components and their options from the settings of one layer.

    Args:
        catalogue: where components are looked up.
        plugin: whose recipe is read: there its own short names come first.
    """

    catalogue: Catalogue
    plugin: str | None = None

    def options(self, kind: Kind, identity: str) -> Mapping[str, Option]:
        """The options of a component."""
        return component_options(self.catalogue.load(self.catalogue.component(kind, identity)[1]))

    def changed(
        self,
        key: str,
        kind: Kind,
        value: Any,
        before: Choice | None = None,
        shared: Mapping[str, Option] | None = None,
    ) -> Choice:
        """The given options of a component, merged over those of earlier layers.

        Another component's name discards the options of the one before, except those that the kind shares.

        Raises:
            ConfigurationError: there is no such component or option, or a value is of the wrong type.
        """
        shared = shared or {}
        given = as_named(value, key)
        name = given.pop("name", None)
        if name is None and before is None:
            raise ConfigurationError(
                f"{key}: {with_article(kind)} is given by its name, like {{name: NAME}}.",
                f"ganvae components {kind} lists what there is",
            )
        identity, kept = ("", {}) if before is None else (before.id, before.options)
        if name is not None:
            identity, implied = self._identity(kind, str(name))
            given = {**implied, **given}
        if before is not None and identity != before.id:
            kept = {option: kept[option] for option in shared if option in kept}
        known = {**self.options(kind, identity), **shared}
        read = {
            option: self._value(f"{key}.{option}", known[option], item)
            for option, item in _known(key, identity, given, known, kept)
        }
        if kind == "source" and read.get("path"):
            read["path"] = str(Path(read["path"]).expanduser())
        return Choice(identity, {**kept, **read})

    def component(self, key: str, kind: Kind, value: Any, *, own_shape: bool = False) -> Choice:
        """A component that one layer gives completely: in the options of another, or in a list.

        Raises:
            ConfigurationError: as ``changed``, or a required option is missing.
        """
        given = as_named(value, key)
        known: Mapping[str, Option] = {}
        if "name" in given:
            identity, _ = self._identity(kind, str(given["name"]))
            known = own_facts(self.catalogue.load(self.catalogue.component(kind, identity)[1]))
        choice = self.changed(key, kind, given, shared=known)
        facts = {name: choice.options.pop(name) for name in known if name in choice.options}
        if "latent_shape" in facts:
            check_shape(f"{key}.latent_shape", facts["latent_shape"])
        elif own_shape and known:
            raise ConfigurationError(
                f"{key}.latent_shape must be given: each {kind} there has a shape of its own.",
                f"for example:  {{name: {choice.id.partition('/')[2]}, latent_shape: [8]}}",
            )
        return dataclasses.replace(self.complete(key, kind, choice), facts=facts)

    def components(self, key: str, kind: Kind, value: Any, *, own_shape: bool = False) -> list[Choice]:
        """A list of components; one alone is a list of one.

        Raises:
            ConfigurationError: as ``component``.
        """
        return [
            self.component(f"{key}[{position}]", kind, item, own_shape=own_shape)
            for position, item in enumerate(as_list(value, key))
        ]

    def complete(
        self, key: str, kind: Kind, choice: Choice, shared: Mapping[str, Option] | None = None
    ) -> Choice:
        """The component with every option that it has.

        Raises:
            ConfigurationError: a required option is missing.
        """
        options: dict[str, Any] = {}
        for name, option in {**(shared or {}), **self.options(kind, choice.id)}.items():
            if name not in choice.options and option.default is REQUIRED:
                value = "[{name: NAME, latent_shape: [8]}]" if option.own_shape else "VALUE"
                raise ConfigurationError(
                    f"{key}.{name} must be given: '{choice.id}' needs it ({option.type_name}).",
                    f"add:  {key}.{name}={value}",
                )
            options[name] = choice.options.get(name, option.default)
        return Choice(choice.id, options)

    def optimizers(self, key: str, value: Any, before: Mapping[str, Choice]) -> dict[str, Choice]:
        """The optimizers of a layer, by name, merged over those of earlier layers.

        One that is not named has the id "" and is as the default one.

        Raises:
            ConfigurationError: as ``changed``.
        """
        value = as_tree(value, key)
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"{key}: it takes settings by name, like {key}.default.lr=1e-3.")
        found = dict(before)
        for name in sorted(value, key=lambda name: name != DEFAULT):
            if is_null(value[name]):
                found.pop(name, None)
                continue
            default = found.get(DEFAULT, Choice(""))
            own = found.get(name, Choice(""))
            inherited = Choice(own.id or default.id or ADAM, own.options)
            given = as_named(value[name], f"{key}.{name}")
            said = self.changed(f"{key}.{name}", "optimizer", given, inherited, OF_OPTIMIZERS)
            found[name] = said if "name" in given else Choice(own.id, said.options)
        return found

    def complete_optimizers(self, key: str, given: Mapping[str, Choice]) -> dict[str, Choice]:
        """All optimizers with all of their options; missing ones are those of the default.

        Raises:
            ConfigurationError: a setting is out of range.
        """
        default = given.get(DEFAULT, Choice(""))
        found: dict[str, Choice] = {}
        for name, choice in {DEFAULT: default, **given}.items():
            identity = choice.id or default.id or ADAM
            same = identity == (default.id or ADAM)
            known = self.options("optimizer", identity).keys() | OF_OPTIMIZERS.keys()
            inherited = {key: value for key, value in default.options.items() if same or key in OF_OPTIMIZERS}
            options = {key: value for key, value in {**inherited, **choice.options}.items() if key in known}
            made = self.complete(f"{key}.{name}", "optimizer", Choice(identity, options), OF_OPTIMIZERS)
            plainly = {name: made.options[name] for name in OF_OPTIMIZERS if name != "schedule"}
            OptimizerSettings(**plainly)  # refuses what is out of range
            found[name] = made
        return found

    def stage(self, key: str, value: Any) -> StageSettings:
        """One of the stages after the first.

        Raises:
            ConfigurationError: it names no objective, or as ``component``.
        """
        given = as_tree(value, key)
        options = settings_options(StageSettings)
        if not isinstance(given, Mapping) or is_null(given.get("objective")):
            raise ConfigurationError(
                f"{key}: a stage is given by its objective, like {{objective: NAME, steps: 1000}}."
            )
        rest = {name: item for name, item in _known(key, "stage", given, options, {}) if not is_null(item)}
        return StageSettings(
            self.component(f"{key}.objective", "objective", rest["objective"]),
            self.component(f"{key}.critic", "critic", rest["critic"]) if "critic" in rest else None,
            steps=convert(options["steps"], rest.get("steps", 0), f"{key}.steps"),
            train=convert(options["train"], rest.get("train"), f"{key}.train"),
            optimizers=self.complete_optimizers(
                f"{key}.optimizers", self.optimizers(f"{key}.optimizers", rest.get("optimizers", {}), {})
            ),
        )

    def _value(self, key: str, option: Option, value: Any) -> Any:
        if option.kind is None:
            return convert(option, value, key)
        if option.optional and is_null(value):
            return None
        if option.many:
            return self.components(key, option.kind, value, own_shape=option.own_shape)
        value = as_tree(value, key)
        if option.number and not isinstance(value, Mapping):
            known = [identity for identity, _, _ in self.catalogue.components(option.kind)]
            if str(value).rpartition("/")[2] not in {identity.rpartition("/")[2] for identity in known}:
                return _number(option.kind, known, value, key)
        return self.component(key, option.kind, value, own_shape=option.own_shape)

    def _identity(self, kind: Kind, name: str) -> tuple[str, dict[str, Any]]:
        """The full id for a name, and the options that the name itself gives: the path, for data."""
        if kind == "source":
            return self._source(name)
        return self.catalogue.component(kind, name, plugin=self.plugin)[0], {}

    def _source(self, name: str) -> tuple[str, dict[str, Any]]:
        """A source's name, or else a path, whose ending says which source reads it."""
        if not name.strip():
            raise ConfigurationError("data: its name is empty; give a source's name or a path.")
        known = {identity for identity, _, _ in self.catalogue.components("source")}
        if name in known or name in {identity.partition("/")[2] for identity in known}:
            return self.catalogue.component("source", name, plugin=self.plugin)[0], {}
        path = Path(name).expanduser()
        refuse_pickle(
            path, "data", ConfigurationError, "store its array:  np.save('x.npy', x)   then  --data x.npy"
        )
        readers = self.catalogue.sources_reading(name, self.plugin)
        if len(readers) == 1 and (path.exists() or path.suffix or "/" in name):
            return readers[0], {"path": str(path)}
        if len(readers) > 1:
            raise ConfigurationError(
                f"data: more than one source reads '{name}': {', '.join(readers)}.",
                f"choose one:  data.name={readers[0]} data.path={name}",
            )
        names = sorted(identity.partition("/")[2] for identity in known)
        hint = f"sources: {', '.join(names)}; or the path of a folder of images, .npy, .npz, IDX, .csv or .parquet"
        if path.exists():
            raise ConfigurationError(f"data: no source reads files like '{name}'.", hint)
        raise ConfigurationError(
            f"data: there is no source and no file '{name}'.{did_you_mean(name, names)}", hint
        )


class Draft:
    """A configuration in the making: layers are applied one after the other, then it is finished.

    Args:
        catalogue: where components are looked up.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._components: dict[str, Choice] = {}
        self._lists: dict[str, tuple[Choice, ...]] = dict.fromkeys(LISTS, ())
        self._groups: dict[str, dict[str, Any]] = {key: {} for key in GROUPS}
        self._from: InitialWeights | None = None
        self._optimizers: dict[str, Choice] = {}
        self._train: tuple[Any, ...] | None = None
        self._stages: tuple[StageSettings, ...] = ()
        self._discarded: dict[str, Choice] = {}

    def apply(self, layer: Mapping[str, Any], *, plugin: str | None = None) -> None:
        """Lay one layer over those before it.

        Args:
            layer: nested settings, as ``parse_yaml`` and ``parse_overrides`` give them.
            plugin: whose recipe this is: its own short names come first.

        Raises:
            ConfigurationError: an unknown key, name or option, or a value of the wrong type.
            PluginError: a component's plugin is not ready.
        """
        reader = Reader(self.catalogue, plugin)
        for key, value in layer.items():
            if key in SLOTS:
                self._apply_slot(reader, key, value)
            elif key in LISTS:
                self._lists[key] = tuple(reader.components(key, LISTS[key], value))
            elif key in GROUPS:
                if key == "engine" and isinstance(value, Mapping) and "steps" in value:
                    self._groups[key].pop("most_epochs", None)  # it limits the steps of its own layer alone
                self._groups[key] |= _read_settings(key, GROUPS[key], value, self._groups[key])
            elif key == "from":
                self._apply_from(value)
            elif key == "optimizers":
                before = self._optimizers
                self._optimizers = reader.optimizers(key, value, before)
                for name in before.keys() & self._optimizers.keys():
                    if before[name].id != self._optimizers[name].id:
                        self._discarded[f"{key}.{name}"] = before[name]
            elif key == "train":
                self._train = convert(settings_options(StageSettings)["train"], value, "train")
            elif key == "stages":
                items = enumerate(
                    self._numbered(value) if isinstance(value, Mapping) else as_list(value, key)
                )
                self._stages = tuple(reader.stage(f"stages[{number}]", item) for number, item in items)
            elif key not in KEYS:
                raise ConfigurationError(
                    f"there is no setting '{key}'.{_meant(key)}", f"there are: {', '.join(KEYS)}"
                )

    def _numbered(self, given: Mapping[str, Any]) -> list[Any]:
        """The stages with changes to some of them by number, as ``stages.0.steps=4000`` gives them."""
        stages = [plain(stage) for stage in self._stages]
        for number, changes in given.items():
            if not number.isdecimal() or int(number) >= len(stages) or not isinstance(changes, Mapping):
                raise ConfigurationError(
                    f"stages.{number}: there is no such stage.",
                    f"there are {len(stages)} after the first, numbered from 0:  stages.0.steps=4000",
                )
            stages[int(number)] |= changes
        return stages

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
            if slot not in self._components:
                raise ConfigurationError(
                    f"{slot}: this configuration names none.",
                    f"add one:  {slot}=NAME",
                    f"ganvae components {SLOTS[slot]} lists what there is",
                )
        reader = Reader(self.catalogue)
        components = {
            slot: reader.complete(slot, SLOTS[slot], choice) for slot, choice in self._components.items()
        }
        data = self._components["data"].options if "data" in self._components else {}
        optimizers = reader.complete_optimizers("optimizers", self._optimizers)
        return Configuration(
            plugin,
            recipe,
            components,
            dict(self._lists),
            DataSettings(**{name: value for name, value in data.items() if name in OF_DATA}),
            LatentSettings(**self._groups["latent"]),
            EngineSettings(**self._groups["engine"]),
            optimizers,
            self._train,
            self._stages,
            self._from,
            tuple(self._lost_options(components, optimizers)),
        )

    def _apply_from(self, value: Any) -> None:
        if is_null(value):
            self._from = None
            return
        given = as_named(value, "from")
        if "name" in given:  # a bare path
            given["path"] = given.pop("name")
        before = {} if self._from is None or "path" in given else plain(self._from)
        read = {**before, **_read_settings("from", InitialWeights, given, before)}
        if "path" not in read:
            raise ConfigurationError("from.path must be given: the run with whose weights this one begins.")
        self._from = InitialWeights(**read)

    def _apply_slot(self, reader: Reader, slot: str, value: Any) -> None:
        before = self._components.get(slot)
        if is_null(value):
            if slot not in OPTIONAL_SLOTS:
                raise ConfigurationError(f"{slot}: a run cannot be without one.")
            self._components.pop(slot, None)
            return
        given = as_named(value, slot)
        if before is None and "name" not in given:
            if given:
                raise ConfigurationError(
                    f"{slot}.{next(iter(given))}: there is no {slot} here that it could be for.",
                    f"choose one:  {slot}=NAME",
                )
            return
        now = reader.changed(slot, SLOTS[slot], given, before, OF_DATA if slot == "data" else {})
        if before is not None and before.id != now.id:
            self._discarded[slot] = before
        self._components[slot] = now

    def _lost_options(
        self, components: Mapping[str, Choice], optimizers: Mapping[str, Choice]
    ) -> Iterator[str]:
        """Notes on options of a replaced component that the new one has with another value."""
        made = {**components, **{f"optimizers.{name}": choice for name, choice in optimizers.items()}}
        said = {**self._components, **{f"optimizers.{name}": one for name, one in self._optimizers.items()}}
        for key in [key for key in made if key in self._discarded]:
            before, now = self._discarded[key], made[key]
            lost = {
                name: value
                for name, value in before.options.items()
                if name in now.options and now.options[name] != value and name not in said[key].options
            }
            if lost:
                settings = [f"{name}={_typed_out(value)}" for name, value in lost.items()]
                yield (
                    f"{key}={now.id} does not take over {' '.join(settings)} of {before.id or ADAM};"
                    f" to keep it:  {' '.join(f'{key}.{setting}' for setting in settings)}"
                )


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
    """The configuration that a run's ``config.yaml`` holds, with changes over it: complete, so no recipe is read.

    Raises:
        ConfigurationError, PluginError: as ``Draft.apply`` and ``Draft.finish``.
    """
    draft = Draft(catalogue)
    draft.apply(tree)
    draft.apply(changes or {})
    return draft.finish(str(tree.get("plugin", "")), str(tree.get("recipe", "")))


def sampling_options(catalogue: Catalogue, configuration: Configuration) -> dict[str, tuple[str, ...]]:
    """By slot, the options of its component that may change after training."""
    return {
        slot: tuple(getattr(catalogue.load(spec), "sampling_options", ()))
        for slot, choice in configuration.components.items()
        for _, spec in [catalogue.component(SLOTS[slot], choice.id)]
    }


def with_sampling_options(
    catalogue: Catalogue, configuration: Configuration, layer: Mapping[str, Any]
) -> Configuration:
    """A trained run's configuration with options changed that may change after training: ``generator.steps=50``.

    Args:
        catalogue: where components are looked up.
        configuration: of the run.
        layer: the changes, as ``nest`` gives them.

    Raises:
        ConfigurationError: another setting is to be changed, or a value is of the wrong type.
    """
    allowed = sampling_options(catalogue, configuration)
    possible = [f"{slot}.{name}" for slot, names in allowed.items() for name in names]
    for slot, given in layer.items():
        for name in as_named(given, slot):
            if f"{slot}.{name}" not in possible:
                raise ConfigurationError(
                    f"{slot}.{name} cannot be changed after training.",
                    f"what can be: {', '.join(possible) or 'nothing of this model'}",
                )
    return stored(catalogue, configuration.as_dict(), layer)


def as_named(value: Any, key: str) -> dict[str, Any]:
    """A component's settings with its name among them, from a bare name, a mapping, or one typed as ``{name: …}``."""
    value = as_tree(value, key)
    return (
        {str(name): item for name, item in value.items()} if isinstance(value, Mapping) else {"name": value}
    )


def as_list(value: Any, key: str) -> Sequence[Any]:
    """A list that may have been typed, like ``[elbo, {name: reconstruction}]``; one item alone is a list of one."""
    if is_null(value):
        return ()
    if isinstance(value, Text):
        value = as_tree(Text(value if value.startswith("[") else f"[{value}]"), key)
    return value if isinstance(value, list | tuple) else [value]


def _number(kind: Kind, known: Sequence[str], value: Any, key: str) -> float:
    try:
        return convert(Option(key, float, REQUIRED), value, key)
    except ConfigurationError:
        raise ConfigurationError(
            f"{key}: '{value}' is not possible here: it must be a number or {with_article(kind)}.",
            f"{kind}s: {', '.join(known)}",
        ) from None


def _read_settings(key: str, settings: type, value: Any, current: Mapping[str, Any]) -> dict[str, Any]:
    options = settings_options(settings)
    value = as_tree(value, key)
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{key}: it takes settings by name, like {key}.{next(iter(options))}=VALUE.")
    return {
        name: convert(options[name], item, f"{key}.{name}")
        for name, item in _known(key, key, value, options, current)
    }


def _known(
    key: str,
    owner: str,
    given: Mapping[str, Any],
    options: Mapping[str, Option],
    current: Mapping[str, Any],
) -> list[tuple[str, Any]]:
    """The settings given, all of which are options.

    Raises:
        ConfigurationError: one is not; the message has the nearest right one with its type and value.
    """
    for name in given:
        if name in options:
            continue
        near = did_you_mean(name, options)
        if near:
            option = next(option for option in options.values() if f"'{option.name}'" in near)
            now = current.get(option.name, option.default)
            value = "" if now is REQUIRED else f", now {'null' if now is None else plain(now)}"
            type_name = "float" if option.number and isinstance(now, float) else option.type_name
            near = f"{near[:-1]} ({type_name}{value})?"
        listing = f"it has: {', '.join(options)}" if options else "it has no options"
        if name == "latent_shape":
            listing = "the latent shape of a run is a setting of its own:  latent.shape=[16]"
        raise ConfigurationError(
            f"{key}.{name}: '{owner}' has no option '{name}'.{near}", "" if near else listing
        )
    return list(given.items())


def _typed_out(value: Any) -> str:
    """The value as it is typed."""
    shown = plain(value)
    return json.dumps(shown) if isinstance(shown, bool | list | dict | None) else str(shown)


def _meant(key: str) -> str:
    """The most similar setting for an unknown name."""
    of_engine = {field.name for field in dataclasses.fields(EngineSettings)}
    return f" Did you mean 'engine.{key}'?" if key in of_engine else did_you_mean(key, KEYS)
