"""The hooks. A plugin implements them in a light module that imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from ganvae_core.plugins.specs import CommandSpec, ComponentSpec, RecipeSpec

hookspec = pluggy.HookspecMarker("ganvae")
hookimpl = pluggy.HookimplMarker("ganvae")


@hookspec
def ganvae_components() -> Sequence[ComponentSpec]:  # pyright: ignore[reportReturnType]
    """The components that this plugin offers."""


@hookspec
def ganvae_recipes() -> Sequence[RecipeSpec]:  # pyright: ignore[reportReturnType]
    """The recipes that this plugin ships."""


@hookspec
def ganvae_commands() -> Sequence[CommandSpec]:  # pyright: ignore[reportReturnType]
    """The verbs that this plugin adds to the command line."""
