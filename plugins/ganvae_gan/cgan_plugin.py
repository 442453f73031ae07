"""What the cgan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec("cgan", "recipes/cgan.yaml", "a GAN that is given the label (Mirza and Osindero 2014)"),
        RecipeSpec("small", "recipes/cgan_small.yaml", "a small DCGAN of classes: MNIST in minutes on a CPU"),
    ]
