"""What the bigan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "objective",
            "bigan",
            "ganvae_gan.objective:BiGAN",
            "a critic of pairs, so that a GAN encodes (Donahue et al. 2017; ALI, Dumoulin et al. 2017)",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec("bigan", "recipes/bigan.yaml", "a GAN that encodes (Donahue et al. 2017)"),
        RecipeSpec("small", "recipes/bigan_small.yaml", "a small BiGAN: MNIST in minutes on a CPU"),
    ]
