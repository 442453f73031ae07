"""Registry files: the plugins that are known, installed or not, and a user's choices among the installed ones."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.plugins.specs import KINDS

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

OWN = "ganvae"
"""The distribution of the first-party plugins."""
REGISTRY_VERSION = 1
VARIABLE = "GANVAE_REGISTRY"

Fields = Mapping[str, type]
FILE: Fields = {"version": int, "disable": list, "prefer": dict, "plugins": dict}
ENTRY: Fields = {"distribution": str, "entry_point": str, "summary": str, "install": str, "provides": dict}
PROVIDES: Fields = {"components": list, "recipes": list}
FORMS = {int: "a whole number", str: "a text", list: "a list of texts", dict: "a table"}


@dataclass(frozen=True)
class KnownPlugin:
    """A registry's entry for one plugin.

    Args:
        name: the plugin's, reserved for ``distribution``.
        distribution: the distribution that ships it.
        entry_point: the module that describes it.
        summary: one line for people.
        install: the command that installs it.
        components: the components that it provides, as ``kind/name``.
        recipes: names of its recipes.
    """

    name: str
    distribution: str
    entry_point: str
    summary: str
    install: str
    components: tuple[str, ...]
    recipes: tuple[str, ...]


@dataclass(frozen=True)
class Registry:
    """The content of a registry file.

    Args:
        plugins: its entries by name.
        disable: names of the plugins that are left out.
        prefer: the id that an ambiguous short name stands for, by ``kind/name``.
        origin: the file, for messages.
    """

    plugins: Mapping[str, KnownPlugin] = field(default_factory=dict[str, KnownPlugin])
    disable: frozenset[str] = frozenset()
    prefer: Mapping[str, str] = field(default_factory=dict[str, str])
    origin: str = ""

    def known(self) -> Mapping[str, KnownPlugin]:
        """The entries of this file and of ganvae's own. Those of this file take precedence."""
        return {**registry(), **self.plugins}


@functools.cache
def registry() -> Mapping[str, KnownPlugin]:
    """The entries of the ``registry.toml`` that ganvae ships, by name."""
    path = registry_path()
    return parse_registry(path.read_text("utf-8"), str(path)).plugins


def registry_path() -> Traversable:
    """The path of ganvae's registry: in the package, or in an editable install at the root of the checkout."""
    from importlib.resources import files

    inside = files("ganvae_core").joinpath("registry.toml")
    return inside if inside.is_file() else files("ganvae_core").joinpath("../registry.toml")


def chosen_file(given: Path | None = None) -> Path | None:
    """The user's registry file: the one given, else the one that ``GANVAE_REGISTRY`` names, else None."""
    named = os.environ.get(VARIABLE, "")
    return given or (Path(named) if named else None)


def user_registry(given: Path | None = None) -> Registry:
    """The content of the user's registry file; empty where there is none.

    Raises:
        ConfigurationError: the file cannot be read, or is wrong.
    """
    path = chosen_file(given)
    if path is None:
        return Registry()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(
            f"the registry file '{path}' cannot be read: {reason}", f"--registry or {VARIABLE} names it"
        ) from None
    return parse_registry(text, str(path))


def parse_registry(text: str, origin: str) -> Registry:
    """The content of a registry file. An error names the file and the key.

    Args:
        text: TOML.
        origin: the file, for messages.

    Raises:
        ConfigurationError: the text is not TOML, a key is unknown, or a value has the wrong form.
    """
    import tomllib

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{origin}: not TOML: {error}") from None
    if values.get("version") != REGISTRY_VERSION:
        raise ConfigurationError(f"{origin} does not begin with  version = {REGISTRY_VERSION}")
    _check(origin, "", values, FILE)
    for short, id in values.get("prefer", {}).items():
        kind, _, name = short.partition("/")
        if kind not in KINDS or not (name and isinstance(id, str) and id.endswith(f"/{name}")):
            near = did_you_mean(kind, KINDS)
            raise ConfigurationError(
                f"{origin}: prefer: {short!r} = {id!r} is not of the form KIND/NAME = PLUGIN/NAME.{near}",
                'for example  "objective/hinge" = "acme/hinge"',
            )
    plugins = {name: _known(origin, name, entry) for name, entry in values.get("plugins", {}).items()}
    return Registry(plugins, frozenset(values.get("disable", ())), values.get("prefer", {}), origin)


def _known(origin: str, name: str, entry: Mapping[str, Any]) -> KnownPlugin:
    _check(origin, f"plugins.{name}", entry, ENTRY)
    provides: Mapping[str, Any] = entry.get("provides", {})
    _check(origin, f"plugins.{name}.provides", provides, PROVIDES)
    if not entry.get("distribution"):
        raise ConfigurationError(f"{origin}: plugins.{name} has no distribution.")
    return KnownPlugin(
        name,
        entry["distribution"],
        entry.get("entry_point", ""),
        entry.get("summary", ""),
        entry.get("install", f"pip install {entry['distribution']}"),
        tuple(provides.get("components", ())),
        tuple(provides.get("recipes", ())),
    )


def _check(origin: str, key: str, table: object, fields: Fields) -> None:
    """Refuse a value that is no table, an unknown key, and a value of another type."""
    if not isinstance(table, dict):
        raise ConfigurationError(f"{origin}: {key} is {table!r}, not a table.")
    for name, value in cast(dict[str, Any], table).items():
        full = f"{key}.{name}".lstrip(".")
        if name not in fields:
            raise ConfigurationError(
                f"{origin}: there is no key {full}.{did_you_mean(name, fields)}", f"keys: {', '.join(fields)}"
            )
        form = fields[name]
        if not isinstance(value, form) or (form is list and not all(isinstance(item, str) for item in value)):
            raise ConfigurationError(f"{origin}: {full} is {value!r}, not {FORMS[form]}.")
