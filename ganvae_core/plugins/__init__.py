"""Plugins: their descriptions, discovery and catalogue. Importing this package imports no torch and no plugin.

A plugin imports names such as these::

    from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl
"""

from ganvae_core.plugins.catalogue import Catalogue, Plugin, State
from ganvae_core.plugins.discovery import discover, installed_plugins
from ganvae_core.plugins.hookspecs import hookimpl
from ganvae_core.plugins.known import KnownPlugin, registry
from ganvae_core.plugins.specs import API_VERSION, KINDS, CommandSpec, ComponentSpec, Kind, RecipeSpec

__all__ = [
    "API_VERSION",
    "KINDS",
    "Catalogue",
    "CommandSpec",
    "ComponentSpec",
    "Kind",
    "KnownPlugin",
    "Plugin",
    "RecipeSpec",
    "State",
    "discover",
    "hookimpl",
    "installed_plugins",
    "registry",
]
