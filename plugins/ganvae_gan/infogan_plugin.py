"""What the infogan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "callback",
            "code-grid",
            "ganvae_gan.code_grid:CodeGrid",
            "pictures of the effect of each code of a composite prior, at the end of a run",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec("infogan", "recipes/infogan.yaml", "a GAN that learns codes (Chen et al. 2016)"),
        RecipeSpec("small", "recipes/infogan_small.yaml", "a small InfoGAN: MNIST in minutes on a CPU"),
    ]
