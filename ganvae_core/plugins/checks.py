"""Asks a plugin's module what it offers, and checks the answer before anybody relies on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, TypeVar, cast

import pluggy

from ganvae_core.errors import did_you_mean
from ganvae_core.plugins import hookspecs
from ganvae_core.plugins.record import State
from ganvae_core.plugins.specs import (
    API_VERSION,
    COMMAND_GROUPS,
    KINDS,
    CommandSpec,
    ComponentSpec,
    RecipeSpec,
)

HOOKS = ("ganvae_components", "ganvae_recipes", "ganvae_commands")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
TARGET = re.compile(MODULE.pattern + r":[^\W\d]\w*")

Spec = TypeVar("Spec", ComponentSpec, RecipeSpec, CommandSpec)


class RefusalError(Exception):
    """A plugin that cannot be used as it is: the state that it gets, and one line that says why."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state: State = state
        self.reason = reason


def broken(reason: str) -> RefusalError:
    """What a plugin's author has to mend."""
    return RefusalError("broken", " ".join(reason.split()))


def check_name(what: str, name: object) -> None:
    """Names are typed on command lines and stand in ids, so one spelling is allowed."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise broken(f"{what} is called {name!r}: names are lower-case words and digits joined by '-'")


def declared_api(module: ModuleType) -> int:
    """The core API that the module says it was written for.

    Raises:
        RefusalError: it says none.
    """
    api = getattr(module, "ganvae_api", None)
    if api is None:
        raise broken(
            f"{module.__name__} does not say which core API it was written for: ganvae_api = {API_VERSION}"
        )
    if not isinstance(api, int) or isinstance(api, bool):
        raise broken(f"{module.__name__}: ganvae_api is {api!r}, not a whole number such as {API_VERSION}")
    return api


def check_api(api: int) -> None:
    """Refuse a plugin that was written for another core, older or newer."""
    if api != API_VERSION:
        raise RefusalError("incompatible", f"written for core API {api}, this is {API_VERSION}")


def description(
    name: str, module: ModuleType
) -> tuple[tuple[ComponentSpec, ...], tuple[RecipeSpec, ...], tuple[CommandSpec, ...]]:
    """The components and recipes that the plugin's hooks return, all of them checked.

    Raises:
        RefusalError: a hook is misspelt or has the wrong signature, raises, or returns what cannot be used.
    """
    manager = hooked(name, module)
    components = answer(manager, "ganvae_components", ComponentSpec)
    recipes = answer(manager, "ganvae_recipes", RecipeSpec)
    commands = answer(manager, "ganvae_commands", CommandSpec)
    for component in components:
        check_component(component)
    for recipe in recipes:
        check_recipe(recipe, module.__package__ or "")
    for command in commands:
        check_command(command)
    check_unique([f"{component.kind} '{component.name}'" for component in components])
    check_unique([f"recipe '{recipe.name}'" for recipe in recipes])
    check_unique([f"verb '{command.group} {command.name}'" for command in commands])
    return components, recipes, commands


def hooked(name: str, module: ModuleType) -> pluggy.PluginManager:
    """A plugin manager of the module's own, so that no plugin can disturb another."""
    manager = pluggy.PluginManager("ganvae")
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name)
    except pluggy.PluginValidationError as error:
        raise broken(str(error)) from error
    callers = manager.get_hookcallers(module) or []
    implementations = [implementation for caller in callers for implementation in caller.get_hookimpls()]
    for caller in callers:
        optional = all(implementation.optionalhook for implementation in caller.get_hookimpls())
        if not caller.has_spec() and not optional:
            raise broken(f"there is no hook {caller.name}.{did_you_mean(caller.name, HOOKS)}")
    # pluggy ignores in silence what carries no marker.
    marked = [implementation.function for implementation in implementations]
    for attribute, value in vars(module).items():
        if attribute.startswith("ganvae_") and callable(value) and value not in marked:
            if attribute in HOOKS:
                raise broken(f"{attribute} is no hook implementation: put @hookimpl above it")
            raise broken(f"there is no hook {attribute}.{did_you_mean(attribute, HOOKS)}")
    return manager


def answer(manager: pluggy.PluginManager, hook: str, expected: type[Spec]) -> tuple[Spec, ...]:
    """What the plugin's implementations of one hook return, as one tuple."""
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    try:
        returned: list[Any] = caller()
    except Exception as error:
        raise broken(f"{hook}: {type(error).__name__}: {error}") from error
    if len(returned) < len(caller.get_hookimpls()):  # pluggy leaves out None
        raise broken(f"{hook} returned None, not a list of {expected.__name__}")
    specs: list[Spec] = []
    for value in returned:
        if not isinstance(value, (list, tuple)):
            raise broken(f"{hook} returned {type(value).__name__}, not a list of {expected.__name__}")
        for item in cast(Sequence[Any], value):
            if not isinstance(item, expected):
                raise broken(f"{hook} returned a list with {item!r}, which is no {expected.__name__}")
            specs.append(item)
    return tuple(specs)


def check_component(component: ComponentSpec) -> None:
    """Refuse a component that could not be found by its id, imported or shown."""
    if component.kind not in KINDS:
        near = did_you_mean(str(component.kind), KINDS)
        raise broken(f"component {component.name!r}: there is no kind {component.kind!r}.{near}")
    check_name(f"a component ({component.kind})", component.name)
    what = f"{component.kind} '{component.name}'"
    check_target(what, component.target)
    check_summary(what, component.summary)
    # A tuple of one pattern that was written without its comma is a string.
    reads: Any = component.reads
    if not isinstance(reads, tuple) or not all(
        isinstance(item, str) for item in cast(tuple[Any, ...], reads)
    ):
        raise broken(f"{what}: reads is {reads!r}, not a tuple of patterns such as ('*.csv',)")
    if reads and component.kind != "source":
        raise broken(f"{what}: only a source has paths that it reads")


def check_recipe(recipe: RecipeSpec, package: str) -> None:
    """Refuse a recipe whose file is not inside the plugin's package."""
    check_name("a recipe", recipe.name)
    what = f"recipe '{recipe.name}'"
    check_summary(what, recipe.summary)
    resource: Any = recipe.resource
    if not isinstance(resource, str) or not resource:
        raise broken(f"{what}: resource is {resource!r}, not the path of a file")
    path = PurePosixPath(resource)
    if path.is_absolute() or ".." in path.parts or "\\" in resource or ":" in resource:
        raise broken(f"{what}: {resource} is not a path inside the plugin's package")
    if not package:
        raise broken(f"{what}: the plugin is a single module, only a package can ship files")

    from importlib.resources import files

    if not files(package).joinpath(*path.parts).is_file():
        raise broken(f"{what}: there is no file {resource} in {package}")


def check_command(command: CommandSpec) -> None:
    """Refuse a verb that could not be typed, found or imported."""
    check_name("a verb", command.name)
    what = f"verb '{command.name}'"
    check_target(what, command.target)
    check_summary(what, command.summary)
    if command.group not in COMMAND_GROUPS:
        raise broken(f"{what}: there is no group {command.group!r}: it is '' or 'plugins'")


def check_target(what: str, target: object) -> None:
    """Targets are imported and looked up by name."""
    if not isinstance(target, str) or not TARGET.fullmatch(target):
        raise broken(f"{what}: target {target!r} is not of the form 'package.module:Name'")


def check_summary(what: str, summary: object) -> None:
    """Summaries are shown in tables."""
    if not isinstance(summary, str) or not summary.strip() or "\n" in summary:
        raise broken(f"{what}: its summary must be one line for people, and is {summary!r}")


def check_unique(names: Iterable[str]) -> None:
    """An id stands for one thing."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise broken(f"{name} is there twice")
        seen.add(name)
