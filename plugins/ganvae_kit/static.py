"""Checks of a plugin's description: everything that can be known without torch."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ganvae_core.errors import did_you_mean
from ganvae_core.plugins import hookspecs
from ganvae_core.plugins.discovery import normalised
from ganvae_core.plugins.validation import (
    HOOKS,
    MODULE,
    RefusalError,
    check_api,
    check_name,
    declared_api,
    description,
    hooked,
)
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.places import Place, place_in_traceback, place_of, place_of_names, place_of_text
from ganvae_kit.subjects import PluginUnderTest

IMPORT_SECONDS = 120.0

PROBE = """
import importlib, importlib.abc, json, sys, traceback

class Seen(BaseException):
    pass

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "torch":
            frames = traceback.extract_stack()[:-1]
            print(json.dumps([[frame.filename, frame.lineno] for frame in frames]), file=report)
            report.flush()
            raise Seen
        return None

report, sys.stdout = sys.stdout, sys.stderr
sys.meta_path.insert(0, Watch())
try:
    importlib.import_module(sys.argv[1])
except Seen:
    pass
"""
"""Imports a module in a fresh interpreter, and prints the stack at the first import of torch, at which it stops."""


@check("plugin")
def entry_point(plugin: PluginUnderTest) -> None:
    """Its entry point has a plugin's name, is claimed by no other distribution, and is a module that is imported."""
    found, place = plugin.plugin, described(plugin)
    if found.state == "conflict":
        raise CheckFailure(found.reason, place)
    try:
        check_name("the plugin", found.name)
    except RefusalError as refusal:
        raise CheckFailure(refusal.reason, place) from None
    if not MODULE.fullmatch(found.entry_point):
        raise CheckFailure(
            f"the entry point {found.entry_point!r} is not a module such as 'package.plugin'", place
        )
    try:
        importlib.import_module(found.entry_point)
    except (Exception, SystemExit) as error:
        raise CheckFailure(
            f"{found.entry_point} cannot be imported: {type(error).__name__}: {error}",
            place_in_traceback(error, plugin.owns) or place,
        ) from error


@check("plugin", needs=["entry-point"])
def imports_no_torch(plugin: PluginUnderTest) -> None:
    """Its description can be imported without torch, in a fresh interpreter, so that listings stay quick."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, plugin.plugin.entry_point],
        capture_output=True, text=True, timeout=IMPORT_SECONDS, env=environment, check=False,
    )  # fmt: skip
    if not done.stdout.strip():
        if done.returncode:
            raise CheckFailure(
                f"{plugin.plugin.entry_point} cannot be imported by itself: {done.stderr.strip().splitlines()[-1]}",
                place_of_module(module_of(plugin)),
            )
        return
    frames = [
        Place(file, line) for file, line in json.loads(done.stdout.splitlines()[0]) if plugin.owns(file)
    ]
    raise CheckFailure(
        f"importing {plugin.plugin.entry_point} imports torch",
        frames[0] if frames else place_of_module(module_of(plugin)),
        "components are named by ComponentSpec(target=…) and imported when a run uses them",
    )


@check("plugin", needs=["entry-point"])
def api(plugin: PluginUnderTest) -> None:
    """It says which core API it was written for, and this core has it."""
    module = module_of(plugin)
    try:
        check_api(declared_api(module))
    except RefusalError as refusal:
        place = place_of_text(module.__file__ or "", "ganvae_api") or place_of_module(module)
        raise CheckFailure(refusal.reason, place) from None


@check("plugin", needs=["entry-point"])
def hook_names(plugin: PluginUnderTest) -> None:
    """Every function of its description that is called ganvae_… is a hook that there is, and is marked as one."""
    for name, function in hooks_of(module_of(plugin)).items():
        if name not in HOOKS:
            raise CheckFailure(f"there is no hook {name}.{did_you_mean(name, HOOKS)}", place_of(function),
                               f"hooks: {', '.join(HOOKS)}")  # fmt: skip
        if not hasattr(function, "ganvae_impl"):
            raise CheckFailure(
                f"{name} is no hook implementation, so it is never called",
                place_of(function),
                "put @hookimpl above it",
            )


@check("plugin", needs=["hook-names"])
def hook_signatures(plugin: PluginUnderTest) -> None:
    """Its hooks take the parameters that the core calls them with."""
    module = module_of(plugin)
    try:
        hooked(plugin.plugin.name, module)
    except RefusalError as refusal:
        hooks = hooks_of(module)
        named = next((name for name in hooks if name in refusal.reason), None)
        place = place_of(hooks[named]) if named else place_of_module(module)
        expected = f"def {named}{signature(named)}" if named else ""
        raise CheckFailure(refusal.reason, place, expected) from None


@check("plugin", needs=["hook-signatures"])
def descriptions(plugin: PluginUnderTest) -> None:
    """What its hooks return are components and recipes that can be found by name, imported and shown."""
    module = module_of(plugin)
    try:
        description(plugin.plugin.name, module)
    except RefusalError as refusal:
        cause = refusal.__cause__
        place = place_in_traceback(cause, plugin.owns) if cause else None
        hooks = [f"def {name}" for name in hooks_of(module) if name in refusal.reason]
        file = module.__file__ or ""
        place = (
            place
            or place_of_names(file, refusal.reason)
            or place_of_text(file, *hooks)
            or place_of_module(module)
        )
        raise CheckFailure(refusal.reason, place) from None


@check("plugin", needs=["entry-point"])
def reserved_name(plugin: PluginUnderTest) -> None:
    """Its name is not one that the registry of known plugins reserves for another distribution."""
    known = plugin.catalogue.known().get(plugin.plugin.name)
    if known is not None and normalised(known.distribution) != normalised(plugin.plugin.distribution):
        raise CheckFailure(
            f"the name '{plugin.plugin.name}' is reserved for {known.distribution} ({known.summary})",
            described(plugin),
            "choose another name for the entry point",
        )


@check("plugin", needs=["descriptions", "api"])
def offers_something(plugin: PluginUnderTest) -> None:
    """It offers a component, recipe or verb, and a plugin with recipes has a default one that bears its name."""
    found = plugin.plugin
    if not found.ready:
        raise CheckFailure(f"the plugin is {found.state}: {found.reason}", described(plugin))
    module = module_of(plugin)
    if not (found.components or found.recipes or found.commands):
        raise CheckFailure("it offers nothing: no component, recipe or verb", place_of_module(module),
                           "implement ganvae_components, ganvae_recipes or ganvae_commands")  # fmt: skip
    if found.recipes and found.name not in {recipe.name for recipe in found.recipes}:
        named = ", ".join(recipe.name for recipe in found.recipes)
        raise CheckFailure(
            f"no recipe is called '{found.name}', so `ganvae run --plugin {found.name}` has nothing to run",
            place_of_text(module.__file__ or "", "RecipeSpec(") or place_of_module(module),
            f"its recipes: {named}",
        )


def module_of(plugin: PluginUnderTest) -> ModuleType:
    """The module that describes a plugin, which has been imported before."""
    return importlib.import_module(plugin.plugin.entry_point)


def place_of_module(module: ModuleType) -> Place | None:
    """The first line of a module."""
    return Place(module.__file__, 1) if module.__file__ else None


def hooks_of(module: ModuleType) -> Mapping[str, Any]:
    """The functions of a module that are called like hooks."""
    return {
        name: value for name, value in vars(module).items() if name.startswith("ganvae_") and callable(value)
    }


def signature(hook: str) -> str:
    """A hook's parameters, as the core calls it."""
    import inspect

    return str(inspect.signature(getattr(hookspecs, hook)))


def described(plugin: PluginUnderTest) -> Place | None:
    """The line on which a plugin's entry point is written: in its project, or where it was installed."""
    name = plugin.plugin.name
    if plugin.described is not None:
        return place_of_text(plugin.described, f'"{plugin.plugin.entry_point}"', name)
    file = _installed_entry_points(plugin.plugin.distribution)
    return None if file is None else place_of_text(file, plugin.plugin.entry_point, name)


def _installed_entry_points(distribution: str) -> Path | None:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import distribution as installed

    try:
        folder = getattr(installed(distribution), "_path", None)
    except PackageNotFoundError:
        raise NotChecked(f"{distribution} is not installed") from None
    return None if folder is None else Path(folder) / "entry_points.txt"
