"""Checks of a plugin's description: everything that can be known without torch."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

from ganvae_core.plugins.discovery import normalised
from ganvae_core.plugins.validation import (
    RefusalError,
    check_api,
    check_entry_point,
    declared_api,
    description,
)
from ganvae_kit.checks import CheckFailure, check
from ganvae_kit.places import Place
from ganvae_kit.subjects import PluginUnderTest

IMPORT_SECONDS = 120.0

PROBE = "import importlib, sys; sys.modules['torch'] = None; importlib.import_module(sys.argv[1])"
"""Imports a module in a fresh interpreter without torch."""


@check("plugin")
def entry_point(plugin: PluginUnderTest) -> None:
    """Its entry point has a name that no other plugin has or reserves, and is a module that can be imported."""
    found = plugin.plugin
    written = plugin.described and Place(str(plugin.described), 1)
    known = plugin.catalogue.known().get(found.name)
    if found.state == "conflict":
        raise CheckFailure(found.reason, place=written)
    if known is not None and normalised(known.distribution) != normalised(found.distribution):
        message = f"the name '{found.name}' is reserved for {known.distribution} ({known.summary})"
        raise CheckFailure(message, "choose another name for the entry point", place=written)
    try:
        check_entry_point(found.name, found.entry_point)
        importlib.import_module(found.entry_point)
    except RefusalError as refusal:
        raise CheckFailure(refusal.reason, place=written) from None
    except (Exception, SystemExit) as error:
        raise CheckFailure.of(error, where=f"{found.entry_point} cannot be imported") from error


@check("plugin", needs=["entry-point"])
def imports_no_torch(plugin: PluginUnderTest) -> None:
    """Its description can be imported without torch, in a fresh interpreter, so that listings stay quick."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    name = plugin.plugin.entry_point
    done = subprocess.run(
        [sys.executable, "-c", PROBE, name],
        capture_output=True, text=True, timeout=IMPORT_SECONDS, env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        torch = "import of torch" in last
        message = (
            f"importing {name} imports torch" if torch else f"{name} cannot be imported by itself: {last}"
        )
        hint = "components are named by ComponentSpec(target=…) and imported when a run uses them"
        raise CheckFailure(message, hint if torch else "")


@check("plugin", needs=["entry-point"])
def descriptions(plugin: PluginUnderTest) -> None:
    """It is written for this core API, and its hooks return components, recipes and verbs that can be used."""
    module = importlib.import_module(plugin.plugin.entry_point)
    try:
        check_api(declared_api(module))
        components, recipes, commands = description(module)
    except RefusalError as refusal:
        raise CheckFailure(refusal.reason) from refusal
    if not (components or recipes or commands):
        hint = "implement ganvae_components, ganvae_recipes or ganvae_commands"
        raise CheckFailure("it offers nothing: no component, recipe or verb", hint)
    name, names = plugin.plugin.name, [recipe.name for recipe in recipes]
    if recipes and name not in names:
        message = f"no recipe is called '{name}', so `ganvae run --plugin {name}` has nothing to run"
        raise CheckFailure(message, f"its recipes: {', '.join(names)}")
