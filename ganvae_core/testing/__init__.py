"""The conformance kit: holds a plugin to every promise that the core relies on.

In a plugin's tests::

    from ganvae_core.testing import PluginSuite

    class TestMine(PluginSuite):
        plugin = "mine"

``ganvae plugins check mine`` runs the same checks. Each is a function over a plugin, a component or a recipe, and
raises ``CheckFailure`` with the file and line to look at. pytest is imported when ``PluginSuite`` is subclassed.
"""

import ganvae_core.testing.groups  # noqa: F401 # pyright: ignore[reportUnusedImport]
from ganvae_core.testing.checks import CHECKS, Check, CheckFailure, NotChecked, Outcome, checks_of, held
from ganvae_core.testing.opening import open_plugins
from ganvae_core.testing.subjects import Component, Given, PluginUnderTest, Recipe
from ganvae_core.testing.suite import PluginSuite

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
