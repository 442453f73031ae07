"""What the vae plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "objective",
            "elbo",
            "ganvae_vae.objective:ELBO",
            "the evidence lower bound with a weight β on the KL term (Kingma & Welling 2013)",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("vae", "recipes/vae.yaml", "a variational autoencoder of fully connected networks")]
