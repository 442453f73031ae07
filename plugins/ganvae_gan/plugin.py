"""What the gan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "objective",
            "non-saturating",
            "ganvae_gan.objective:NonSaturating",
            "the generator maximises log D(G(z)) (Goodfellow et al. 2014)",
        ),
        ComponentSpec(
            "objective",
            "minimax",
            "ganvae_gan.objective:Minimax",
            "the generator minimises log(1 - D(G(z))) (Goodfellow et al. 2014)",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("gan", "recipes/gan.yaml", "a GAN of fully connected networks, non-saturating loss")]
