"""What the dcgan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "generator",
            "dcgan",
            "ganvae_dcgan.networks:DCGANGenerator",
            "transposed convolutions, for images with sides of 8 to 128 (Radford et al. 2015)",
        ),
        ComponentSpec(
            "encoder",
            "dcgan",
            "ganvae_dcgan.networks:DCGANEncoder",
            "strided convolutions to a Gaussian posterior, the generator's mirror",
        ),
        ComponentSpec(
            "critic",
            "dcgan",
            "ganvae_dcgan.networks:DCGANCritic",
            "strided convolutions to one logit (Radford et al. 2015)",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec("dcgan", "recipes/dcgan.yaml", "a GAN of convolutional networks, for images"),
        RecipeSpec(
            "small",
            "recipes/small.yaml",
            "a quarter of the filters: MNIST, or pictures of 64 × 64, in minutes on a CPU",
            "on an accelerator --recipe dcgan, with four times the filters; on a CPU more --steps",
        ),
        RecipeSpec(
            "photos",
            "recipes/photos.yaml",
            "half of the filters: photographs of 32 × 32 in minutes on a CPU",
            "on an accelerator --recipe dcgan with --steps 50000; on a CPU --steps 20000",
        ),
    ]
