"""Calls the hooks of a plugin's module and checks the descriptions that they return."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any, TypeVar, cast

from ganvae_core.errors import did_you_mean
from ganvae_core.plugins.catalogue import State
from ganvae_core.plugins.specs import API_VERSION, KINDS, CommandSpec, ComponentSpec, RecipeSpec

HOOKS = ("ganvae_components", "ganvae_recipes", "ganvae_commands")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
TARGET = re.compile(MODULE.pattern + r":[^\W\d]\w*")

Spec = TypeVar("Spec", ComponentSpec, RecipeSpec, CommandSpec)


class RefusalError(Exception):
    """A plugin that cannot be used.

    Args:
        reason: for people; it becomes one line.
        state: the plugin's.
    """

    def __init__(self, reason: str, state: State = "broken") -> None:
        super().__init__(reason)
        self.reason, self.state = " ".join(reason.split()), state


def check_name(what: str, name: object) -> None:
    """Refuse a name that is not lower case, so that each has one spelling on the command line and in ids."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise RefusalError(f"{what} is called {name!r}: names are lower-case words and digits joined by '-'")


def check_entry_point(name: str, module: str) -> None:
    """Refuse an entry point with a wrong name, or with anything but a module as its value."""
    check_name("the plugin", name)
    if not MODULE.fullmatch(module):
        raise RefusalError(f"its entry point {module!r} is not a module such as 'package.plugin'")


def declared_api(module: ModuleType) -> int:
    """The core API that the module declares.

    Raises:
        RefusalError: it declares none.
    """
    api = getattr(module, "ganvae_api", None)
    if type(api) is not int:
        raise RefusalError(
            f"{module.__name__}: ganvae_api is {api!r}, not a whole number such as {API_VERSION}"
        )
    return api


def check_api(api: int) -> None:
    """Refuse a plugin for another core API, older or newer."""
    if api != API_VERSION:
        raise RefusalError(f"written for core API {api}, this is {API_VERSION}", "incompatible")


def description(
    module: ModuleType,
) -> tuple[tuple[ComponentSpec, ...], tuple[RecipeSpec, ...], tuple[CommandSpec, ...]]:
    """The components, recipes and commands of a plugin's module.

    Raises:
        RefusalError: a hook has the wrong name or signature, raises, or returns a wrong description.
    """
    check_hooks(module)
    components = answer(module, "ganvae_components", ComponentSpec)
    recipes = answer(module, "ganvae_recipes", RecipeSpec)
    commands = answer(module, "ganvae_commands", CommandSpec)
    for component in components:
        check_component(component)
    for recipe in recipes:
        check_recipe(recipe, module.__package__ or "")
    for command in commands:
        check_command(command)
    names = [f"{component.kind} '{component.name}'" for component in components]
    names += [f"recipe '{recipe.name}'" for recipe in recipes]
    check_unique([*names, *(f"verb '{command.group} {command.name}'" for command in commands)])
    return components, recipes, commands


def check_hooks(module: ModuleType) -> None:
    """Refuse a function of a module that is called like a hook and is none, or is one without its mark."""
    for attribute, value in vars(module).items():
        options = getattr(value, "ganvae_impl", None) if callable(value) else None  # set by @hookimpl
        if options is None and not (callable(value) and attribute.startswith("ganvae_")):
            continue
        if attribute not in HOOKS and not (options and options["optionalhook"]):
            raise RefusalError(f"there is no hook {attribute}.{did_you_mean(attribute, HOOKS)}")
        if options is None:
            raise RefusalError(f"{attribute} is not a hook implementation: put @hookimpl above it")


def answer(module: ModuleType, hook: str, expected: type[Spec]) -> tuple[Spec, ...]:
    """The descriptions that a plugin's implementation of a hook returns; none where it has no such hook."""
    if not hasattr(module, hook):
        return ()
    try:
        value: Any = getattr(module, hook)()
    except Exception as error:
        raise RefusalError(f"{hook}: {type(error).__name__}: {error}") from error
    if not isinstance(value, (list, tuple)):
        raise RefusalError(f"{hook} returned {type(value).__name__}, not a list of {expected.__name__}")
    for item in cast(Sequence[Any], value):
        if not isinstance(item, expected):
            raise RefusalError(f"{hook} returned a list with {item!r}, which is not a {expected.__name__}")
    return tuple(cast(Sequence[Spec], value))


def check_component(component: ComponentSpec) -> None:
    """Refuse a component with a wrong kind, name, target, summary or pattern."""
    if component.kind not in KINDS:
        near = did_you_mean(str(component.kind), KINDS)
        raise RefusalError(f"component {component.name!r}: there is no kind {component.kind!r}.{near}")
    check_name(f"a component ({component.kind})", component.name)
    what = f"{component.kind} '{component.name}'"
    check_described(what, component.summary, component.target)
    # A tuple of one pattern without its comma is a string.
    for option, patterns in (("reads", component.reads), ("also_reads", component.also_reads)):
        if not isinstance(cast(Any, patterns), tuple):
            raise RefusalError(
                f"{what}: {option} is {patterns!r}, not a tuple of patterns such as ('*.csv',)"
            )


def check_recipe(recipe: RecipeSpec, package: str) -> None:
    """Refuse a recipe with a wrong name or summary, or without its file in the plugin's package."""
    from importlib.resources import files

    check_name("a recipe", recipe.name)
    what = f"recipe '{recipe.name}'"
    check_described(what, recipe.summary)
    if recipe.more:
        check_described(what, recipe.more)
    if not package:
        raise RefusalError(f"{what}: the plugin is a single module, only a package can ship files")
    if not files(package).joinpath(str(recipe.resource)).is_file():
        raise RefusalError(f"{what}: there is no file {recipe.resource} in {package}")


def check_command(command: CommandSpec) -> None:
    """Refuse a verb with a wrong name, target, summary or group."""
    check_name("a verb", command.name)
    what = f"verb '{command.name}'"
    check_described(what, command.summary, command.target)
    if command.group not in ("", "plugins"):
        raise RefusalError(f"{what}: there is no group {command.group!r}: it is '' or 'plugins'")


def check_described(what: str, summary: object, target: object = "package.module:Name") -> None:
    """Refuse a summary of several lines or none, and a target that cannot be imported by name."""
    if not isinstance(summary, str) or not summary.strip() or "\n" in summary:
        raise RefusalError(f"{what}: its summary must be one line of text, not {summary!r}")
    if not isinstance(target, str) or not TARGET.fullmatch(target):
        raise RefusalError(f"{what}: target {target!r} is not of the form 'package.module:Name'")


def check_unique(names: list[str]) -> None:
    """Refuse a name that is given twice."""
    for name in names:
        if names.count(name) > 1:
            raise RefusalError(f"{name} is given twice")
