"""Finds the plugins to check: an installed one by its name, or those of a distribution's folder."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganvae_core.errors import ConfigurationError, PluginError
from ganvae_core.plugins import Catalogue, Plugin, installed_plugins
from ganvae_core.plugins.discovery import GROUP, loaded, normalised
from ganvae_kit.subjects import Given, PluginUnderTest

PROJECT = "pyproject.toml"


def open_plugins(target: str | Path, given: Given | None = None) -> list[PluginUnderTest]:
    """The plugins that a name or a folder stands for.

    Args:
        target: the name of an installed plugin, or the folder of a distribution, which need not be installed.
        given: by the plugins' author.

    Raises:
        ConfigurationError: there is no such plugin, or the folder holds none.
        PluginError: the plugin is left out, so it cannot be checked.
    """
    if is_folder(target):
        return _in_folder(Path(target), given)
    catalogue = installed_plugins()
    found = catalogue.find(str(target))
    if found.state == "disabled":
        raise PluginError(
            f"plugin '{found.name}' is {found.state}: {found.reason}", "only what is loaded can be checked"
        )
    return [PluginUnderTest(found, catalogue, given)]


def is_folder(target: str | Path) -> bool:
    """Whether a target is meant as a path: a word that is no plugin's name, or names a folder with a project."""
    return isinstance(target, Path) or "/" in target or "\\" in target or (Path(target) / PROJECT).is_file()


def _in_folder(folder: Path, given: Given | None) -> list[PluginUnderTest]:
    """The plugins that a distribution's ``pyproject.toml`` names, imported from its folder."""
    folder = folder.resolve()
    project = folder / PROJECT
    try:
        values: Mapping[str, Any] = tomllib.loads(project.read_text("utf-8"))
    except OSError:
        raise ConfigurationError(
            f"'{folder}' is no folder of a distribution: it has no {PROJECT}.",
            "ganvae plugins check NAME|PATH",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{project} is not TOML: {error}") from None
    metadata: Mapping[str, Any] = values.get("project", {})
    points: Mapping[str, str] = metadata.get("entry-points", {}).get(GROUP, {})
    if not points:
        raise ConfigurationError(
            f"{project} names no plugin: it has no entry point in the group '{GROUP}'.",
            f'add one:  [project.entry-points.{GROUP}]  NAME = "package.plugin"',
        )
    for place in (folder, folder / "src"):
        if place.is_dir():
            sys.path.insert(0, str(place))
    importlib.invalidate_caches()
    name, version = str(metadata.get("name", folder.name)), str(metadata.get("version", "of no version"))
    before = installed_plugins()
    made = [
        _loaded(Plugin(key, "ready", "", name, version, str(value)), before) for key, value in points.items()
    ]
    others = tuple(plugin for plugin in before.plugins if plugin.name not in points)
    catalogue = Catalogue((*others, *made), before.unreadable, before.known)
    return [PluginUnderTest(plugin, catalogue, given, project) for plugin in made]


def _loaded(plugin: Plugin, installed: Catalogue) -> Plugin:
    """The plugin, loaded unless another distribution has installed one of its name."""
    rivals = [
        other
        for other in installed.plugins
        if other.name == plugin.name and normalised(other.distribution) != normalised(plugin.distribution)
    ]
    if rivals:
        return replace(
            plugin, state="conflict", reason=f"'{plugin.name}' is claimed by {rivals[0].origin}, too"
        )
    return loaded(plugin)
