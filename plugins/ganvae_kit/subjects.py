"""What is checked: a plugin, its components and its recipes."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from ganvae_core.config.build import Builder
from ganvae_core.config.configuration import Configuration, configure
from ganvae_core.config.layers import nest
from ganvae_core.errors import ConfigurationError, GanvaeError, PluginError
from ganvae_core.interfaces import Source
from ganvae_core.plugins import Catalogue, ComponentSpec, Plugin, RecipeSpec, installed_plugins
from ganvae_core.plugins.discovery import GROUP, loaded, normalised
from ganvae_core.types import DataSpec
from ganvae_kit.checks import NotChecked, Of, Outcome
from ganvae_kit.data import DOWNLOADED, RandomRows, in_model_units
from ganvae_kit.models import Settings
from ganvae_kit.offline import wanted_network
from ganvae_kit.places import Place, place_of
from ganvae_kit.situations import Situation, situations_of

PROJECT = "pyproject.toml"
MOST_SOURCES = 2
MOST_VALUES = 64 * 64 * 3
"""Sources of its own that a plugin's components are tried on, and values in a row of theirs: more would take long."""


@dataclass(frozen=True)
class Given:
    """What a plugin's author gives to the kit.

    Args:
        settings: by ``kind/name`` of a component, the settings to check it with, one after the other.
        data: further data specifications that the components are tried on.
    """

    settings: Mapping[str, Sequence[Settings]] = field(default_factory=dict[str, Sequence[Settings]])
    data: Sequence[DataSpec] = ()


class PluginUnderTest:
    """One plugin, in whatever state, and what it offers.

    Args:
        plugin: what was found out about it.
        catalogue: the plugins that its components and recipes may be combined with, itself included.
        given: by its author.
        described: the file in which its entry point is written, where it is known.
    """

    of: Of = "plugin"
    label = "plugin"

    def __init__(
        self, plugin: Plugin, catalogue: Catalogue, given: Given | None = None, described: Path | None = None
    ) -> None:
        self.plugin = plugin
        self.catalogue = catalogue
        self.given = given or Given()
        self.described = described
        self.outcomes: dict[str, Outcome] = {}

    @functools.cached_property
    def components(self) -> list[Component]:
        """Its components; none while the plugin is not ready."""
        return [Component(self, spec) for spec in self.plugin.components]

    @functools.cached_property
    def recipes(self) -> list[Recipe]:
        """Its recipes; none while the plugin is not ready."""
        return [Recipe(self, spec) for spec in self.plugin.recipes]

    @functools.cached_property
    def own_data(self) -> dict[str, DataSpec]:
        """What its own sources hold, as far as they can be opened with what its author gave, and are small."""
        found: dict[str, DataSpec] = {}
        for source in self.components:
            opened = [at for at in source.tried if at.refusal is None] if source.of == "source" else []
            if len(found) < MOST_SOURCES and opened and math.prod(opened[0].opened.spec.shape) <= MOST_VALUES:
                found[f"rows of {source.spec.name}"] = in_model_units(opened[0].opened.spec)
        return found

    @property
    def place(self) -> Place | None:
        """The first line of the module that describes it, else of its project file."""
        file = getattr(sys.modules.get(self.plugin.entry_point), "__file__", None) or self.described
        return Place(str(file), 1) if file else None

    @property
    def subjects(self) -> list[PluginUnderTest | Component | Recipe]:
        """Everything that is checked, the plugin itself first."""
        return [self, *self.components, *self.recipes]

    @functools.cached_property
    def folders(self) -> tuple[str, ...]:
        """Where its code lies, as beginnings of file names: the packages of its description and of its components."""
        modules = [
            self.plugin.entry_point,
            *(spec.target.partition(":")[0] for spec in self.plugin.components),
        ]
        return tuple(dict.fromkeys(folder for module in modules if (folder := folder_of(module))))

    def owns(self, file: str) -> bool:
        """Whether a file is part of the plugin."""
        return file.startswith(self.folders)


def folder_of(module: str) -> str:
    """The folder of a module's topmost package, or the module's file; of the core, its plugin's alone; else nothing."""
    top = "ganvae_core.builtin" if module.startswith("ganvae_core.builtin") else module.partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ""
    if found is None or found.origin is None:
        return ""
    origin = Path(found.origin)
    return f"{origin.parent}{os.sep}" if origin.name == "__init__.py" else str(origin)


class Part:
    """A component or a recipe of a plugin.

    Args:
        owner: the plugin.
    """

    def __init__(self, owner: PluginUnderTest) -> None:
        self.owner = owner
        self.outcomes: dict[str, Outcome] = {}

    def owns(self, file: str) -> bool:
        """Whether a file is part of the plugin."""
        return self.owner.owns(file)


class Component(Part):
    """One component of a plugin.

    Args:
        owner: the plugin.
        spec: how the plugin describes it.
    """

    def __init__(self, owner: PluginUnderTest, spec: ComponentSpec) -> None:
        super().__init__(owner)
        self.spec = spec
        self.of: Of = spec.kind
        self.label = f"{spec.kind}/{spec.name}"
        self.id = f"{owner.plugin.name}/{spec.name}"

    @property
    def place(self) -> Place | None:
        """Where its class begins, else the description that names it."""
        try:
            return place_of(self.target)
        except PluginError:
            return self.owner.place

    @functools.cached_property
    def target(self) -> Any:
        """The class or function that it names.

        Raises:
            PluginError: it cannot be imported.
        """
        return self.owner.catalogue.load(self.spec)

    @functools.cached_property
    def tried(self) -> list[Situation]:
        """Every situation that it is tried in, whether it accepts it or not."""
        return situations_of(self)

    @property
    def situations(self) -> list[Situation]:
        """The situations that it accepts.

        Raises:
            NotChecked: there is none.
        """
        accepted = [situation for situation in self.tried if situation.refusal is None]
        if not accepted:
            raise NotChecked("it was not made")
        return accepted


class Recipe(Part):
    """One recipe of a plugin.

    Args:
        owner: the plugin.
        spec: how the plugin describes it.
    """

    of: Of = "recipe"

    def __init__(self, owner: PluginUnderTest, spec: RecipeSpec) -> None:
        super().__init__(owner)
        self.spec = spec
        self.label = f"recipe/{spec.name}"

    @property
    def file(self) -> Path | None:
        """The YAML file, where it is one on disk."""
        resource = files(self.owner.plugin.package).joinpath(self.spec.resource)
        return resource if isinstance(resource, Path) else None

    @property
    def place(self) -> Place | None:
        """The first line of the file."""
        return None if self.file is None else Place(str(self.file), 1)

    def configured(self, **changes: Any) -> Configuration:
        """Its configuration.

        Args:
            changes: settings by dotted key.

        Raises:
            GanvaeError: it cannot be read.
        """
        owner = self.owner
        return configure(owner.catalogue, owner.plugin.name, self.spec.name, [nest(list(changes.items()))])

    def source(self, made: Configuration) -> Source | None:
        """What stands in for its data: random rows for data that is downloaded; None where the data can be opened.

        Raises:
            NotChecked: its data must be given, or needs the network.
            GanvaeError: its data cannot be opened.
        """
        data = made.components["data"]
        stand_in = DOWNLOADED.get(data.id) or next(iter(self.owner.given.data), None)
        if stand_in is not None:
            return RandomRows(stand_in)
        try:
            Builder(made, self.owner.catalogue).split()
        except GanvaeError as error:
            if wanted_network(error):
                raise NotChecked(f"its data needs the network ({data.id})") from None
            if data.options.get("path", "") is None:
                raise NotChecked(f"its data must be given: {error.message}  (data= of PluginSuite)") from None
            raise
        return None


def open_plugins(
    target: str | Path, given: Given | None = None, installed: Catalogue | None = None
) -> list[PluginUnderTest]:
    """The plugins that a name or a folder stands for.

    Args:
        target: the name of an installed plugin, or the folder of a distribution, which need not be installed.
        given: by the plugins' author.
        installed: the installed plugins; by default those of the environment.

    Raises:
        ConfigurationError: there is no such plugin, or the folder holds none.
        PluginError: the plugin is left out, so it cannot be checked.
    """
    catalogue = installed or installed_plugins()
    if is_folder(target):
        return _in_folder(Path(target), given, catalogue)
    found = catalogue.find(str(target))
    if found.state == "disabled":
        raise PluginError(
            f"plugin '{found.name}' is {found.state}: {found.reason}", "only what is loaded can be checked"
        )
    return [PluginUnderTest(found, catalogue, given)]


def is_folder(target: str | Path) -> bool:
    """Whether a target is meant as a path: a word that is no plugin's name, or names a folder with a project."""
    return isinstance(target, Path) or "/" in target or "\\" in target or (Path(target) / PROJECT).is_file()


def _in_folder(folder: Path, given: Given | None, before: Catalogue) -> list[PluginUnderTest]:
    """The plugins that a distribution's ``pyproject.toml`` names, imported from its folder."""
    folder = folder.resolve()
    project = folder / PROJECT
    try:
        values: Mapping[str, Any] = tomllib.loads(project.read_text("utf-8"))
    except OSError:
        raise ConfigurationError(
            f"'{folder}' is not the folder of a distribution: it has no {PROJECT}.",
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
    made = [
        _loaded(Plugin(key, "ready", "", name, version, str(value)), before) for key, value in points.items()
    ]
    others = tuple(plugin for plugin in before.plugins if plugin.name not in points)
    catalogue = Catalogue((*others, *made), before.unreadable, before.known)
    return [PluginUnderTest(plugin, catalogue, given, project) for plugin in made]


def _loaded(plugin: Plugin, installed: Catalogue) -> Plugin:
    """The plugin, loaded unless another distribution has installed one of its name."""
    for other in installed.plugins:
        if other.name == plugin.name and normalised(other.distribution) != normalised(plugin.distribution):
            return replace(
                plugin, state="conflict", reason=f"'{plugin.name}' is claimed by {other.origin}, too"
            )
    return loaded(plugin)
