"""The plugins that ``registry.toml`` knows of, installed or not."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

REGISTRY_VERSION = 1


@dataclass(frozen=True)
class KnownPlugin:
    """What the registry says of one plugin.

    Args:
        name: the plugin's, reserved for ``distribution``.
        distribution: the distribution that ships it.
        entry_point: the module that describes it.
        summary: one line for people.
        install: the command that installs it.
        components: what it provides, as ``kind/name``.
        recipes: names of its recipes.
    """

    name: str
    distribution: str
    entry_point: str
    summary: str
    install: str
    components: tuple[str, ...]
    recipes: tuple[str, ...]


@functools.cache
def registry() -> Mapping[str, KnownPlugin]:
    """The known plugins by name, from the ``registry.toml`` that came with ganvae.

    Raises:
        ValueError: the file is not TOML, or of another version.
    """
    import tomllib

    return parsed(tomllib.loads(registry_path().read_text("utf-8")))


def registry_path() -> Traversable:
    """Where ganvae's own registry lies: in the package, or in an editable install at the root of the checkout."""
    from importlib.resources import files

    inside = files("ganvae_core").joinpath("registry.toml")
    return inside if inside.is_file() else files("ganvae_core").joinpath("../registry.toml")


def parsed(values: Mapping[str, Any]) -> Mapping[str, KnownPlugin]:
    """The plugins in the values of a registry file.

    Raises:
        ValueError: the values are of another version.
    """
    version = values.get("version")
    if version != REGISTRY_VERSION:
        raise ValueError(
            f"registry.toml is of version {version}, this ganvae reads version {REGISTRY_VERSION}"
        )
    return {name: known_plugin(name, entry) for name, entry in values.get("plugins", {}).items()}


def known_plugin(name: str, entry: Mapping[str, Any]) -> KnownPlugin:
    """One plugin from its table, of which only the distribution must be given."""
    provides = entry.get("provides", {})
    return KnownPlugin(
        name=name,
        distribution=entry["distribution"],
        entry_point=entry.get("entry_point", ""),
        summary=entry.get("summary", ""),
        install=entry.get("install", f"pip install {entry['distribution']}"),
        components=tuple(provides.get("components", ())),
        recipes=tuple(provides.get("recipes", ())),
    )
