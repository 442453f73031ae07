"""The hooks. A plugin implements them in a light module that imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from ganvae_core.plugins.specs import ComponentSpec, RecipeSpec

hookspec = pluggy.HookspecMarker("ganvae")
hookimpl = pluggy.HookimplMarker("ganvae")


@hookspec
def ganvae_components() -> Sequence[ComponentSpec]:  # pyright: ignore[reportReturnType]
    """The components that this plugin offers."""


@hookspec
def ganvae_recipes() -> Sequence[RecipeSpec]:  # pyright: ignore[reportReturnType]
    """The recipes that this plugin ships."""
