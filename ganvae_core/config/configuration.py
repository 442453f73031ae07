"""Recipe, file and overrides: layers, laid over each other as they were typed, then checked once by their types."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from ganvae_core.config.layers import Text, as_tree, is_null, parse_yaml
from ganvae_core.config.options import (
    REQUIRED,
    Option,
    component_facts,
    component_options,
    convert,
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
    "FRAME", "IN_MEMORY", "KEYS", "LISTS", "SLOTS", "Choice", "Configuration", "DataSettings", "Draft",
    "LatentSettings", "Reader", "StageSettings", "configure", "sampling_options", "stored", "with_absolute_path",
    "with_sampling_options",
]  # fmt: skip

IN_MEMORY, FRAME = "builtin/array", "builtin/table"
"""The sources that stand for arrays, and for data frames, that are given from Python."""
ADAM = "builtin/adam"
OF_DATA = settings_options(DataSettings)
"""Options of data that all sources share."""
OF_OPTIMIZERS = settings_options(OptimizerSettings)
"""Options of an optimizer that all algorithms share."""
del OF_OPTIMIZERS["optimizer"]
SHARED: Mapping[str, Mapping[str, Option]] = {"source": OF_DATA, "optimizer": OF_OPTIMIZERS}
GROUPS: Mapping[str, type] = {"latent": LatentSettings, "engine": EngineSettings}
LATENT_SHAPE = Option("latent_shape", tuple[int, ...], None)
"""The fact that a component inside another one's options may be given there, in place of the run's."""
GONE = ("on_nonfinite", "on_callback_error")
"""Settings of the engine in runs of earlier versions that have no effect any more."""
OF_LISTS = {key: Option(key, list[Annotated[Choice, kind]] | None, None) for key, kind in LISTS.items()}


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads settings by their types, with components looked up in a catalogue.

    Args:
        catalogue: where components are looked up.
    """

    catalogue: Catalogue

    def named(self, kind: Kind, value: Any, key: str, before: str = "") -> dict[str, Any]:
        """A component's settings as they were typed, its name as a full id.

        Args:
            kind: of the component.
            value: its name, or its settings with the name among them.
            key: of the setting, for messages.
            before: id of the component of the layers before.

        Raises:
            ConfigurationError: there is no such component, or no source for a path.
        """
        given = as_named(value, key)
        if "name" not in given:
            return given
        plugin, name = getattr(given["name"], "plugin", None), str(given.pop("name"))
        if kind == "source":
            return {**self._source(name, plugin, before), **given}
        return {"name": self.catalogue.component(kind, name, plugin=plugin)[0], **given}

    def laid(self, key: str, kind: Kind, value: Any, before: Mapping[str, Any]) -> dict[str, Any]:
        """A component's settings laid over earlier ones.

        Another component's name discards the options of the one before, except those that the kind shares.
        """
        given = self.named(kind, value, key, before.get("name", ""))
        if given.get("name", before.get("name")) != before.get("name"):
            before = {name: before[name] for name in SHARED.get(kind, ()) if name in before}
        return {**before, **given}

    def laid_optimizers(self, key: str, value: Any, before: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Optimizers by name laid over earlier ones. One that is given no algorithm has that of the default one."""
        found = dict(before)
        for name, given in _mapping(key, value, f"{key}.{DEFAULT}.lr=1e-3").items():
            if is_null(given):
                found.pop(name, None)
            else:
                own = found.get(name, {})
                if "name" in as_named(given, key):
                    own = {"name": found.get(DEFAULT, {}).get("name", ADAM), **own}
                found[name] = self.laid(f"{key}.{name}", "optimizer", given, own)
        return found

    def component(
        self, key: str, kind: Kind, value: Any, *, own_shape: bool = False, slot: bool = False
    ) -> Choice:
        """A component with all of its options.

        Args:
            key: of the setting, for messages.
            kind: of the component.
            value: its name, or its settings with the name among them.
            own_shape: whether it must be given a latent shape of its own.
            slot: whether it is one of the run's own, which have the options that the kind shares, and the run's facts.

        Raises:
            ConfigurationError: there is no such component or option, a value is of the wrong type, or a required option
                is missing.
        """
        given = self.named(kind, value, key)
        if "name" not in given:
            raise ConfigurationError(
                f"{key}: {with_article(kind)} is given by its name, like {{name: NAME}}.",
                f"ganvae components {kind} lists what there is",
            )
        identity, facts = given.pop("name"), {}
        component = self.catalogue.load(self.catalogue.component(kind, identity)[1])
        shared, own = SHARED.get(kind, {}) if slot else {}, component_options(component)
        options = {**own, **shared} if kind == "source" else {**shared, **own}
        if not slot and "latent_shape" in component_facts(component):
            options = {"latent_shape": LATENT_SHAPE, **options}
        read = self.read(key, identity, given, options)
        shape = read.pop("latent_shape", None)
        if own_shape and "latent_shape" in options and shape is None:
            raise ConfigurationError(
                f"{key}.latent_shape must be given: each {kind} there has a shape of its own.",
                f"for example:  {{name: {identity.partition('/')[2]}, latent_shape: [8]}}",
            )
        if shape is not None:
            check_shape(f"{key}.latent_shape", shape)
            facts["latent_shape"] = shape
        if kind == "source" and read.get("path"):
            read["path"] = os.path.expanduser(read["path"])
        return Choice(identity, read, facts, kind)

    def optimizers(self, key: str, laid: Mapping[str, Mapping[str, Any]]) -> dict[str, Choice]:
        """All optimizers with all of their options; missing ones are those of the default.

        Raises:
            ConfigurationError: as ``component``, or a setting is out of range.
        """
        default = {"name": ADAM, **laid.get(DEFAULT, {})}
        found: dict[str, Choice] = {}
        for name, given in {DEFAULT: default, **laid}.items():
            same = given.get("name", default["name"]) == default["name"]
            inherited = {key: value for key, value in default.items() if same or key in OF_OPTIMIZERS}
            found[name] = self.component(f"{key}.{name}", "optimizer", {**inherited, **given}, slot=True)
            read = found[name].options
            OptimizerSettings(
                **{key: read[key] for key in OF_OPTIMIZERS if key != "schedule"}
            )  # refuses what is out of range
        return found

    def stage(self, key: str, value: Any) -> StageSettings:
        """One of the stages after the first.

        Raises:
            ConfigurationError: it names no objective, or as ``component``.
        """
        given = as_tree(value, key)
        if not isinstance(given, Mapping) or is_null(given.get("objective")):
            raise ConfigurationError(
                f"{key}: a stage is given by its objective, like {{objective: NAME, steps: 1000}}."
            )
        options = settings_options(StageSettings)
        _refuse_unknown(key, "stage", given, options)
        laid = self.laid_optimizers(f"{key}.optimizers", given.get("optimizers") or {}, {})
        options.pop("optimizers")
        read = self.read(key, "stage", {name: given[name] for name in given if name in options}, options)
        return StageSettings(**read, optimizers=self.optimizers(f"{key}.optimizers", laid))

    def settings(self, key: str, settings: type, value: Any) -> Any:
        """A group of settings.

        Raises:
            ConfigurationError: there is no such setting, or a value is of the wrong type.
        """
        options = settings_options(settings)
        given = _mapping(key, value, f"{key}.{next(iter(options))}=VALUE")
        return settings(**self.read(key, key, given, options))

    def read(
        self, key: str, owner: str, given: Mapping[str, Any], options: Mapping[str, Option]
    ) -> dict[str, Any]:
        """Every option with its value.

        Raises:
            ConfigurationError: one is unknown, of the wrong type, or required and missing.
        """
        _refuse_unknown(key, owner, given, options)
        values: dict[str, Any] = {}
        for name, option in options.items():
            if name in given:
                values[name] = self.value(f"{key}.{name}", option, given[name])
            elif option.default is REQUIRED:
                value = "[{name: NAME, latent_shape: [8]}]" if option.own_shape else "VALUE"
                raise ConfigurationError(
                    f"{key}.{name} must be given: '{owner}' needs it ({option.type_name}).",
                    f"add:  {key}.{name}={value}",
                )
            else:
                values[name] = option.default
        return values

    def value(self, key: str, option: Option, value: Any) -> Any:
        """The value of an option, with the components in it.

        Raises:
            ConfigurationError: it is of the wrong type, or as ``component``.
        """
        return convert(option, value, key, functools.partial(self.component, own_shape=option.own_shape))

    def _source(self, name: str, plugin: str | None, before: str) -> dict[str, Any]:
        """A source by its name, or else by a path, whose ending says which source reads it.

        A source of the plugin that the recipe's own data is of comes first, if it can read the path.
        """
        if not name.strip():
            raise ConfigurationError("data: its name is empty; give a source's name or a path.")
        known = {identity for identity, _, _ in self.catalogue.components("source")}
        names = sorted(identity.partition("/")[2] for identity in known)
        if name in known or name in names:
            return {"name": self.catalogue.component("source", name, plugin=plugin)[0]}
        path = Path(os.path.expanduser(name))
        refuse_pickle(
            path, "data", ConfigurationError, "store its array:  np.save('x.npy', x)   then  --data x.npy"
        )
        asked = self.catalogue.sources_also_reading(name, before.partition("/")[0]) if before else []
        readers = asked or self.catalogue.sources_reading(name, plugin)
        if len(readers) == 1 and (path.exists() or path.suffix or "/" in name):
            return {"name": readers[0], "path": str(path)}
        if len(readers) > 1:
            raise ConfigurationError(
                f"data: more than one source reads '{name}': {', '.join(readers)}.",
                f"choose one:  data.name={readers[0]} data.path={name}",
            )
        files = "a folder of images or sounds, .npy, .npz, IDX, .csv, .parquet or .txt"
        hint = f"sources: {', '.join(names)}; or the path of {files}"
        if path.exists():
            raise ConfigurationError(f"data: no source reads files like '{name}'.", hint)
        raise ConfigurationError(
            f"data: there is no source and no file '{name}'.{did_you_mean(name, names)}", hint
        )


class Draft:
    """A configuration in the making: layers are laid over each other, then it is checked.

    Args:
        catalogue: where components are looked up.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._reader = Reader(catalogue)
        self._tree: dict[str, Any] = {"optimizers": {DEFAULT: {"name": ADAM}}}
        self._replaced: dict[str, dict[str, Any]] = {}

    def apply(self, layer: Mapping[str, Any]) -> None:
        """Lay one layer over those before it.

        Args:
            layer: nested settings, as ``parse_yaml`` and ``parse_overrides`` give them.

        Raises:
            ConfigurationError: an unknown key or name.
            PluginError: a component's plugin is not ready.
        """
        for key, value in layer.items():
            before = self._tree.get(key)
            if key in SLOTS:
                self._apply_slot(key, value)
            elif key in GROUPS:
                example = next(iter(settings_options(GROUPS[key])))
                given = _mapping(key, value, f"{key}.{example}=VALUE")
                kept = dict(before or {})
                if "steps" in given:
                    kept.pop("most_epochs", None)  # it limits the steps of its own layer alone
                self._tree[key] = {**kept, **given}
            elif key == "optimizers":
                self._tree[key] = now = self._reader.laid_optimizers(key, value, before or {})
                unnamed = {"name": (before or {}).get(DEFAULT, {}).get("name", ADAM)}
                for name, old in (before or {}).items():
                    self._note_replaced(f"{key}.{name}", unnamed | old, unnamed | (now.get(name) or old))
            elif key == "from" and not is_null(value):
                given = as_named(value, key)
                if "name" in given:  # a bare path
                    given["path"] = given.pop("name")
                self._tree[key] = given if "path" in given else {**(before or {}), **given}
            elif key == "stages" and isinstance(value, Mapping):
                self._tree[key] = _numbered(as_list(before, key), value)
            elif key in KEYS:
                self._tree[key] = value
            else:
                raise ConfigurationError(
                    f"there is no setting '{key}'.{_meant(key)}", f"there are: {', '.join(KEYS)}"
                )

    def finish(self, plugin: str, recipe: str, *, needed: Sequence[str] = NEEDED_SLOTS) -> Configuration:
        """The complete configuration, every option with its value.

        Args:
            plugin: whose recipe it is.
            recipe: its name.
            needed: the slots that must be filled; less than these do for looking at data alone.

        Raises:
            ConfigurationError: a component, option or required option is missing, or a value is of the wrong type.
        """
        reader, tree = self._reader, self._tree
        for slot in needed:
            if slot not in tree:
                raise ConfigurationError(
                    f"{slot}: this configuration names none.",
                    f"add one:  {slot}=NAME",
                    f"ganvae components {SLOTS[slot]} lists what there is",
                )
        components = {
            slot: reader.component(slot, SLOTS[slot], tree[slot], slot=True) for slot in tree if slot in SLOTS
        }
        data = components["data"].options if "data" in components else {}
        optimizers = reader.optimizers("optimizers", tree["optimizers"])
        train = convert(settings_options(StageSettings)["train"], tree.get("train"), "train")
        stages = enumerate(as_list(tree.get("stages"), "stages"))
        initial = tree.get("from")
        return Configuration(
            plugin,
            recipe,
            components,
            {key: tuple(reader.value(key, OF_LISTS[key], tree.get(key)) or ()) for key in LISTS},
            DataSettings(**{name: data.pop(name) for name in OF_DATA if name in data}),
            reader.settings("latent", LatentSettings, tree.get("latent", {})),
            reader.settings("engine", EngineSettings, tree.get("engine", {})),
            optimizers,
            train,
            tuple(reader.stage(f"stages[{number}]", item) for number, item in stages),
            None if is_null(initial) else reader.settings("from", InitialWeights, initial),
            tuple(
                self._lost_options(
                    {**components, **{f"optimizers.{name}": optimizers[name] for name in optimizers}}
                )
            ),
        )

    def _apply_slot(self, slot: str, value: Any) -> None:
        before = self._tree.get(slot)
        if is_null(value):
            if slot not in OPTIONAL_SLOTS:
                raise ConfigurationError(f"{slot}: every run needs one.")
            self._tree.pop(slot, None)
            return
        given = as_named(value, slot)
        if before is None and "name" not in given:
            if given:
                raise ConfigurationError(
                    f"{slot}.{next(iter(given))}: this configuration has no {slot}.",
                    f"choose one:  {slot}=NAME",
                )
            return
        self._tree[slot] = self._reader.laid(slot, SLOTS[slot], given, before or {})
        self._note_replaced(slot, before, self._tree[slot])

    def _note_replaced(self, key: str, before: dict[str, Any] | None, now: Mapping[str, Any]) -> None:
        if before is not None and before["name"] != now["name"]:
            self._replaced[key] = before

    def _lost_options(self, made: Mapping[str, Choice]) -> Iterator[str]:
        """Notes on options of a replaced component that the new one has with another value."""
        for key in [key for key in self._replaced if key in made]:
            before, now, said = self._replaced[key], made[key], self._tree
            for part in key.split("."):
                said = said[part]
            kind: Kind = "optimizer" if "." in key else SLOTS[key]
            component = self._reader.catalogue.load(self._reader.catalogue.component(kind, before["name"])[1])
            lost = {
                name: self._reader.value(f"{key}.{name}", option, before[name])
                for name, option in component_options(component).items()
                if name in before and name in now.options and name not in said
            }
            settings = [
                f"{name}={_typed_out(value)}" for name, value in lost.items() if now.options[name] != value
            ]
            if settings:
                yield (
                    f"{key}={now.id} does not take over {' '.join(settings)} of {before['name']};"
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
    for layer in (parse_yaml(text, f"recipe {plugin}/{spec.name}", plugin), *layers):
        draft.apply(layer)
    return draft.finish(plugin, spec.name)


def without_gone(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a ``config.yaml`` without those that have no effect any more."""
    engine = tree.get("engine")
    if not isinstance(engine, Mapping):
        return dict(tree)
    return {**tree, "engine": {name: engine[name] for name in engine if name not in GONE}}


def stored(
    catalogue: Catalogue, tree: Mapping[str, Any], changes: Mapping[str, Any] | None = None
) -> Configuration:
    """The configuration that a run's ``config.yaml`` holds, with changes over it: complete, so no recipe is read.

    Raises:
        ConfigurationError, PluginError: as ``Draft.apply`` and ``Draft.finish``.
    """
    draft = Draft(catalogue)
    draft.apply(without_gone(tree))
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
                    f"these can be changed: {', '.join(possible) or 'nothing of this model'}",
                )
    return stored(catalogue, configuration.as_dict(), layer)


def as_named(value: Any, key: str) -> dict[str, Any]:
    """A component's settings with its name among them, from a bare name, a mapping, or one typed as ``{name: …}``."""
    if key == "data" and isinstance(value, str) and os.path.exists(value):
        return {"name": value}  # a file may be called [x] or {x}
    value = as_tree(value, key)
    return dict(value) if isinstance(value, Mapping) else {"name": value}


def as_list(value: Any, key: str) -> Sequence[Any]:
    """A list that may have been typed, like ``[elbo, {name: reconstruction}]``; one item alone is a list of one."""
    if is_null(value):
        return ()
    if isinstance(value, Text):
        value = as_tree(value if value.startswith("[") else Text(f"[{value}]"), key)
    return value if isinstance(value, list | tuple) else [value]


def _numbered(stages: Sequence[Any], given: Mapping[str, Any]) -> list[Any]:
    """The stages with changes to some of them by number, as ``stages.0.steps=4000`` gives them."""
    changed = list(stages)
    for number, changes in given.items():
        if not number.isdecimal() or int(number) >= len(changed) or not isinstance(changes, Mapping):
            raise ConfigurationError(
                f"stages.{number}: there is no such stage.",
                f"there are {len(changed)} after the first, numbered from 0:  stages.0.steps=4000",
            )
        changed[int(number)] = {**as_tree(changed[int(number)], "stages"), **changes}
    return changed


def _mapping(key: str, value: Any, example: str) -> Mapping[str, Any]:
    value = as_tree(value, key)
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{key}: it takes settings by name, like {example}.")
    return value


def _refuse_unknown(key: str, owner: str, given: Mapping[str, Any], options: Mapping[str, Option]) -> None:
    """Refuse a setting that is no option.

    Raises:
        ConfigurationError: the message has the nearest right one with its type and value.
    """
    for name in [name for name in given if name not in options]:
        near = did_you_mean(name, options)
        if near:
            option = next(option for option in options.values() if f"'{option.name}'" in near)
            now = given.get(option.name, option.default)
            value = "" if now is REQUIRED or now is None else f", now {_typed_out(now)}"
            near = f"{near[:-1]} ({option.type_name}{value})?"
        hint = f"it has: {', '.join(options)}" if options else "it has no options"
        if name == "latent_shape":
            hint = "the latent shape of a run is a setting of its own:  latent.shape=[16]"
        raise ConfigurationError(
            f"{key}.{name}: '{owner}' has no option '{name}'.{near}", "" if near else hint
        )


def _typed_out(value: Any) -> str:
    """The value as it is typed."""
    shown = plain(value)
    return json.dumps(shown) if isinstance(shown, bool | list | dict | None) else str(shown)


def _meant(key: str) -> str:
    """The most similar setting for an unknown name."""
    return (
        f" Did you mean 'engine.{key}'?"
        if key in settings_options(EngineSettings)
        else did_you_mean(key, KEYS)
    )
