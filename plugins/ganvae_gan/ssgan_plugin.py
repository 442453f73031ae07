"""What the ssgan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            "ssgan", "recipes/ssgan.yaml", "a GAN whose critic also classifies rotations (Chen et al. 2019)"
        ),
        RecipeSpec("small", "recipes/ssgan_small.yaml", "a small SSGAN: MNIST in minutes on a CPU"),
    ]
