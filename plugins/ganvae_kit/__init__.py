"""The conformance kit for plugin authors: a check for each promise that the core relies on.

In a plugin's tests::

    from ganvae_kit import PluginSuite

    class TestMine(PluginSuite):
        plugin = "mine"

``ganvae plugins check mine`` runs the same checks. Each is a function of a plugin, a component or a recipe, and raises
``CheckFailure`` with the file and line to look at. The names below are imported when first used (PEP 562), since
listing plugins imports this package; pytest is imported when ``PluginSuite`` is subclassed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganvae_kit.checks import CHECKS, Check, CheckFailure, NotChecked, Outcome, checks_of, held
    from ganvae_kit.subjects import Component, Given, PluginUnderTest, Recipe, open_plugins
    from ganvae_kit.suite import PluginSuite

__all__ = [
    "CHECKS",
    "Check",
    "CheckFailure",
    "Component",
    "Given",
    "NotChecked",
    "Outcome",
    "PluginSuite",
    "PluginUnderTest",
    "Recipe",
    "checks_of",
    "held",
    "open_plugins",
]

_HOME = {
    **dict.fromkeys(
        ("Component", "Given", "PluginUnderTest", "Recipe", "open_plugins"), "ganvae_kit.subjects"
    ),
    **dict.fromkeys(
        ("CHECKS", "Check", "CheckFailure", "NotChecked", "Outcome", "checks_of", "held"), "ganvae_kit.checks"
    ),
    "PluginSuite": "ganvae_kit.suite",
}

GROUPS = (
    "static",
    "declarations",
    "modules",
    "distributions",
    "objectives",
    "batches",
    "sources",
    "views_schedules",
    "watchers",
    "recipes",
)
"""The modules of checks, in the order in which checks are run."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'ganvae_kit' has no attribute '{name}'")
        for group in GROUPS:
            importlib.import_module(f"ganvae_kit.{group}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
