"""The installed plugins, and their components, recipes and verbs by name."""

from __future__ import annotations

import fnmatch
import glob
import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ganvae_core.errors import ConfigurationError, GanvaeError, PluginError, did_you_mean
from ganvae_core.plugins.known import KnownPlugin, registry
from ganvae_core.plugins.specs import KINDS, CommandSpec, ComponentSpec, RecipeSpec

BUILTIN = "builtin"
"""The plugin whose components have short names in every recipe."""


State = Literal["ready", "disabled", "incompatible", "broken", "conflict"]
"""A plugin that is ``disabled`` or in ``conflict`` is not imported."""


@dataclass(frozen=True)
class Plugin:
    """An installed plugin, usable or not.

    Args:
        name: of its entry point; the first half of its components' ids.
        state: whether it can be used; only a ``ready`` plugin has components, recipes and commands.
        reason: one line that says why it is not ready; empty when it is.
        distribution: the name of its distribution.
        version: of that distribution.
        entry_point: the module that describes it, as a dotted name.
        components: the components that it offers.
        recipes: the complete configurations that it ships.
        commands: the verbs that it adds to the command line.
        traceback: of the exception that broke it, or empty.
        api: the core API that it was written for; None where it was not imported.
        package: the package that holds its recipes, as a dotted name; empty where it was not imported.
    """

    name: str
    state: State
    reason: str
    distribution: str
    version: str
    entry_point: str
    components: tuple[ComponentSpec, ...] = ()
    recipes: tuple[RecipeSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    traceback: str = ""
    api: int | None = None
    package: str = ""

    @property
    def ready(self) -> bool:
        """Whether its components can be used."""
        return self.state == "ready"

    @property
    def origin(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Catalogue:
    """The installed plugins, with their components, recipes and verbs.

    Args:
        plugins: sorted by name; each claimant of a name has an entry.
        unreadable: one line for each distribution whose entry points could not be read.
        known: returns the plugins in the registries; called only when something is missing.
        prefer: the id that an ambiguous short name stands for, by ``kind/name``.
    """

    plugins: tuple[Plugin, ...]
    unreadable: tuple[str, ...] = ()
    known: Callable[[], Mapping[str, KnownPlugin]] = registry
    prefer: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ready(self) -> tuple[Plugin, ...]:
        """The plugins that can be used."""
        return tuple(plugin for plugin in self.plugins if plugin.ready)

    def find(self, name: str) -> Plugin:
        """The plugin of that name in any state; of several claimants the ready one, else the first.

        Raises:
            ConfigurationError: no plugin of that name is installed.
        """
        claimants = [plugin for plugin in self.plugins if plugin.name == name]
        if not claimants:
            raise self.absent(name)
        return next((plugin for plugin in claimants if plugin.ready), claimants[0])

    def plugin(self, name: str) -> Plugin:
        """The ready plugin of that name.

        Raises:
            ConfigurationError: no plugin of that name is installed.
            PluginError: it is installed but not ready.
        """
        found = self.find(name)
        if not found.ready:
            raise not_ready(found)
        return found

    def components(self, kind: str | None = None) -> list[tuple[str, ComponentSpec, Plugin]]:
        """The components of the ready plugins, as (id, component, plugin), sorted by kind and id.

        Raises:
            ConfigurationError: there is no such kind.
        """
        if kind is not None and kind not in KINDS:
            raise ConfigurationError(
                f"there is no kind '{kind}'.{did_you_mean(kind, KINDS)}", f"kinds: {', '.join(KINDS)}"
            )
        offered = [
            (f"{plugin.name}/{component.name}", component, plugin)
            for plugin in self.ready
            for component in plugin.components
            if kind is None or component.kind == kind
        ]
        return sorted(offered, key=lambda row: (KINDS.index(row[1].kind), row[0]))

    def component(self, kind: str, name: str, *, plugin: str | None = None) -> tuple[str, ComponentSpec]:
        """The full id and the component that a name stands for.

        Args:
            kind: one of ``KINDS``.
            name: a full id such as ``vae/elbo``, or a short name.
            plugin: the plugin whose recipe uses the name. In a recipe, a short name is one of the plugin's own
                components, else a builtin one. Elsewhere it is any component's while it is unique or preferred.

        Raises:
            ConfigurationError: there is no such kind or component, or the name stands for several.
            PluginError: its plugin is installed but not ready.
        """
        offered = {id: component for id, component, _ in self.components(kind)}
        if "/" in name:
            candidates = [name] if name in offered else []
        elif plugin is not None:
            candidates = [id for id in (f"{plugin}/{name}", f"{BUILTIN}/{name}") if id in offered][:1]
        else:
            candidates = [id for id, component in offered.items() if component.name == name]
        if not candidates:
            raise self.missing(kind, name, list(offered))
        if len(candidates) > 1 and self.prefer.get(f"{kind}/{name}") in candidates:
            candidates = [self.prefer[f"{kind}/{name}"]]
        if len(candidates) > 1:
            raise ConfigurationError(
                f"{kind} '{name}' could be any of {', '.join(candidates)}", "give the full name"
            )
        return candidates[0], offered[candidates[0]]

    def commands(self, group: str = "") -> list[tuple[CommandSpec, Plugin]]:
        """The verbs that the ready plugins add to ``ganvae``, or to a group of its verbs, sorted by name."""
        added = [(verb, plugin) for plugin in self.ready for verb in plugin.commands if verb.group == group]
        return sorted(added, key=lambda row: row[0].name)

    def command(self, name: str, group: str = "") -> CommandSpec | None:
        """The added verb of that name, if there is one.

        Raises:
            ConfigurationError: several plugins add a verb of that name.
        """
        found = [(verb, plugin.name) for verb, plugin in self.commands(group) if verb.name == name]
        if len(found) > 1:
            owners = [owner for _, owner in found]
            raise ConfigurationError(
                f"the verb '{name}' is added by several plugins: {', '.join(owners)}.",
                f"leave out all but one:  --disable-plugin {owners[-1]}",
            )
        return found[0][0] if found else None

    def load(self, spec: ComponentSpec | CommandSpec) -> Any:
        """The class or function that a component or verb of this catalogue names, imported.

        Raises:
            PluginError: it cannot be imported.
        """
        plugin = next(plugin for plugin in self.plugins if spec in (*plugin.components, *plugin.commands))
        module_name, _, attribute = spec.target.partition(":")
        is_verb = isinstance(spec, CommandSpec)
        what = f"verb '{spec.name}'" if is_verb else f"{spec.kind} '{plugin.name}/{spec.name}'"
        try:
            return getattr(importlib.import_module(module_name), attribute)
        except (Exception, SystemExit) as error:  # the plugin's code may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise PluginError(
                f"{what} of {plugin.origin} cannot be imported: {reason}", f"its target is {spec.target}"
            ) from error

    def recipe(self, plugin: str, name: str | None = None) -> tuple[RecipeSpec, str]:
        """A plugin's recipe and its text; without a name the default recipe, which bears the plugin's name.

        Raises:
            ConfigurationError: there is no such plugin or recipe.
            PluginError: the plugin is not ready, or the recipe's file cannot be read.
        """
        from importlib.resources import files

        owner = self.plugin(plugin)
        recipes = {recipe.name: recipe for recipe in owner.recipes}
        if not recipes:
            raise ConfigurationError(
                f"plugin '{plugin}' has no recipes: it offers components for the recipes of others",
                f"plugins with recipes: {', '.join(self.with_recipes())}",
            )
        recipe = recipes.get(name or plugin)
        if recipe is None:
            owners, whose = list[str](), "its recipes"
            message = f"plugin '{plugin}' has no default recipe"
            if name is not None:
                owners = [other for other, recipe in self.recipes() if recipe == name]
                near = f" '{owners[0]}' has one." if owners else did_you_mean(name, recipes)
                message = f"plugin '{plugin}' has no recipe '{name}'.{near}"
                whose = f"recipes of '{plugin}'" if owners else whose
            raise ConfigurationError(
                message,
                *(f"take it:  --plugin {other} --recipe {name}" for other in owners),
                f"{whose}: {', '.join(sorted(recipes))}",
            )
        try:
            return recipe, files(owner.package).joinpath(recipe.resource).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PluginError(f"recipe '{recipe.name}' of {owner.origin} cannot be read: {error}") from error

    def sources_reading(self, path: str, plugin: str | None = None) -> list[str]:
        """Ids of the sources that read a path: those of the plugin, else of any, by name and content.

        A source of any folder (``*/``) is named only where no pattern of content matches.
        """
        offered = [(id, source.reads) for id, source, _ in self.components("source")]
        certain = [
            id for id, patterns in offered if any(matches(path, each) for each in patterns if each != "*/")
        ]
        others = [id for id, patterns in offered if "*/" in patterns and matches(path, "*/")]
        own = [id for id in dict.fromkeys(certain + others) if id.startswith(f"{plugin}/")]
        return own or certain or others

    def sources_also_reading(self, path: str, plugin: str | None = None) -> list[str]:
        """Ids of the sources that read a path only where they are asked to, of one plugin or of any."""
        return [
            id
            for id, source, _ in self.components("source")
            if any(matches(path, each) for each in source.also_reads)
            and (plugin is None or id.startswith(f"{plugin}/"))
        ]

    def with_recipes(self) -> list[str]:
        """Names of the ready plugins that have recipes."""
        return sorted(plugin.name for plugin in self.ready if plugin.recipes)

    def recipes(self) -> dict[tuple[str, str], RecipeSpec]:
        """Recipes of the ready plugins by the plugin's name and their own."""
        return {(plugin.name, recipe.name): recipe for plugin in self.ready for recipe in plugin.recipes}

    def absent(self, name: str) -> ConfigurationError:
        """The error for a plugin that is not installed."""
        installed = f"installed: {', '.join(self.with_recipes())}          ganvae plugins list"
        known = self.known().get(name)
        if known:
            return ConfigurationError(
                f"plugin '{name}' is not installed", f"not installed: {known.install}", installed
            )
        names = {plugin.name for plugin in self.plugins}
        return ConfigurationError(f"there is no plugin '{name}'.{did_you_mean(name, names)}", installed)

    def missing(self, kind: str, name: str, offered: list[str]) -> GanvaeError:
        """The error for a component that no ready plugin offers, or that needs its full name here."""
        owner, _, short = name.rpartition("/")
        elsewhere = [id for id in offered if id.endswith(f"/{short}")]
        hints = [f"{kind}s: {', '.join(offered) or 'none'}"]
        registered = [known.name for known in self.known().values() if f"{kind}/{short}" in known.components]
        for provider in [owner] if owner else [] if elsewhere else registered:
            claimants = [plugin for plugin in self.plugins if plugin.name == provider]
            if claimants and not any(plugin.ready for plugin in claimants):
                return not_ready(claimants[0], f"it provides {kind} '{provider}/{short}'")
            if not claimants and provider in self.known():
                hints.insert(0, f"plugin '{provider}' is not installed: {self.known()[provider].install}")
            elif not claimants:
                hints.insert(0, f"no plugin '{provider}' is installed          ganvae plugins list")
        near = f" Did you mean {' or '.join(repr(id) for id in elsewhere)}?" if elsewhere else ""
        if not near:
            near = did_you_mean(name, offered if owner else [id.rpartition("/")[2] for id in offered])
        return ConfigurationError(f"there is no {kind} '{name}'.{near}", *hints)


def not_ready(plugin: Plugin, *hints: str) -> PluginError:
    """The error for a plugin that is needed and installed, and not ready."""
    return PluginError(
        f"plugin '{plugin.name}' ({plugin.origin}) is {plugin.state}: {plugin.reason}",
        *hints,
        f"ganvae plugins info {plugin.name} --traceback",
    )


def matches(path: str, pattern: str) -> bool:
    """Whether a source's pattern is for this path, in upper or lower case.

    ``*.csv`` is a file, ``*/`` any folder, and ``*/**/*.wav`` a folder with such a file at any depth.
    """
    name, slash, below = pattern.lower().partition("/")
    found = Path(os.path.expanduser(path))  # of an unknown user it is left as it is
    is_folder = path.endswith(("/", "\\")) or found.is_dir()
    if is_folder != bool(slash) or not fnmatch.fnmatchcase(found.name.lower(), name):
        return False
    any_case = re.sub(
        r"\[.*?\]|[a-z]", lambda part: part[0] if len(part[0]) > 1 else f"[{part[0]}{part[0].upper()}]", below
    )
    return not below or any(glob.iglob(any_case, root_dir=found, recursive=True))
