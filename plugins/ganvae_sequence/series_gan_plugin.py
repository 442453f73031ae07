"""What the series-gan plugin offers: a recipe of series-vae's components. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("series-gan", "recipes/series-gan.yaml", "a GAN of windows of a series")]
