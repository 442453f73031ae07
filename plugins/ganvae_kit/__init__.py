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

_HOMES = {
    "ganvae_kit.checks": "CHECKS Check CheckFailure NotChecked Outcome checks_of held",
    "ganvae_kit.subjects": "Component Given PluginUnderTest Recipe open_plugins",
    "ganvae_kit.suite": "PluginSuite",
}
__all__ = [
    "CHECKS", "Check", "CheckFailure", "Component", "Given", "NotChecked", "Outcome", "PluginSuite", "PluginUnderTest",
    "Recipe", "checks_of", "held", "open_plugins",
]  # fmt: skip

GROUPS = (
    "static", "declarations", "networks", "objectives", "behaviour", "distributions", "sources", "views_schedules",
    "watchers", "recipes",
)  # fmt: skip
"""The modules of checks, in the order in which checks are run."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        home = next((home for home, names in _HOMES.items() if name in names.split()), None)
        if home is None:
            raise AttributeError(f"module 'ganvae_kit' has no attribute '{name}'")
        for group in GROUPS:
            importlib.import_module(f"ganvae_kit.{group}")
        globals()[name] = value = getattr(importlib.import_module(home), name)
        return value
