"""The plugins that ``registry.toml`` knows of, installed or not."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    from importlib.resources import files

    inside = files("ganvae_core").joinpath("registry.toml")
    if inside.is_file():
        text = inside.read_text("utf-8")
    else:  # an editable install, where the file lies at the root of the checkout
        text = files("ganvae_core").joinpath("../registry.toml").read_text("utf-8")
    return parsed(tomllib.loads(text))


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
    return {
        name: KnownPlugin(
            name=name,
            distribution=entry["distribution"],
            entry_point=entry["entry_point"],
            summary=entry["summary"],
            install=entry["install"],
            components=tuple(entry["provides"]["components"]),
            recipes=tuple(entry["provides"]["recipes"]),
        )
        for name, entry in values["plugins"].items()
    }
