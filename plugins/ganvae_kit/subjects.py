"""What is checked: a plugin, its components and its recipes."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganvae_core.plugins import Catalogue, ComponentSpec, Plugin, RecipeSpec
from ganvae_core.types import DataSpec
from ganvae_kit.checks import NotChecked, Of, Outcome

if TYPE_CHECKING:
    from ganvae_kit.situations import Situation

MOST_SOURCES = 2
MOST_VALUES = 64 * 64 * 3
"""Sources of its own that a plugin's components are tried on, and values in a row of theirs: more would take long."""

Settings = Mapping[str, Any]
"""Settings by dotted key, as ``gv.train(overrides=…)`` takes them."""


@dataclass(frozen=True)
class Given:
    """What a plugin's author gives to the kit.

    Args:
        settings: by ``kind/name`` of a component, the settings to check it with, one after the other.
        data: further data specifications that the components are tried on.
        closed_forms: by ``kind/name``, functions that give what a component computes and what it should.
    """

    settings: Mapping[str, Sequence[Settings]] = field(default_factory=dict[str, Sequence[Settings]])
    data: Sequence[DataSpec] = ()
    closed_forms: Mapping[str, Sequence[Callable[..., Any]]] = field(
        default_factory=dict[str, Sequence[Callable[..., Any]]]
    )


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
        from ganvae_kit.situations import in_model_units

        found: dict[str, DataSpec] = {}
        for source in self.components:
            opened = [at for at in source.tried if at.refusal is None] if source.of == "source" else []
            if len(found) < MOST_SOURCES and opened and math.prod(opened[0].opened.spec.shape) <= MOST_VALUES:
                found[f"rows of {source.spec.name}"] = in_model_units(opened[0].opened.spec)
        return found

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


class Component:
    """One component of a plugin.

    Args:
        owner: the plugin.
        spec: how the plugin describes it.
    """

    def __init__(self, owner: PluginUnderTest, spec: ComponentSpec) -> None:
        self.owner = owner
        self.spec = spec
        self.outcomes: dict[str, Outcome] = {}

    @property
    def of(self) -> Of:
        """Its kind."""
        return self.spec.kind

    @property
    def label(self) -> str:
        """``kind/name``."""
        return f"{self.spec.kind}/{self.spec.name}"

    @property
    def id(self) -> str:
        """``plugin/name``, as configurations write it."""
        return f"{self.owner.plugin.name}/{self.spec.name}"

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
        from ganvae_kit.situations import situations_of

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

    @property
    def closed_forms(self) -> Sequence[Callable[..., Any]]:
        """What its author gave for it."""
        return self.owner.given.closed_forms.get(self.label, ())

    def owns(self, file: str) -> bool:
        """Whether a file is part of the plugin."""
        return self.owner.owns(file)


class Recipe:
    """One recipe of a plugin.

    Args:
        owner: the plugin.
        spec: how the plugin describes it.
    """

    of: Of = "recipe"

    def __init__(self, owner: PluginUnderTest, spec: RecipeSpec) -> None:
        self.owner = owner
        self.spec = spec
        self.outcomes: dict[str, Outcome] = {}

    @property
    def label(self) -> str:
        """``recipe/name``."""
        return f"recipe/{self.spec.name}"

    @property
    def file(self) -> Path | None:
        """The YAML file, where it is one on disk."""
        from importlib.resources import files

        resource = files(self.owner.plugin.package).joinpath(self.spec.resource)
        return resource if isinstance(resource, Path) else None

    def owns(self, file: str) -> bool:
        """Whether a file is part of the plugin."""
        return self.owner.owns(file)
