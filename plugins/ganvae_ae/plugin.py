"""What the ae plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "objective",
            "autoencoder",
            "ganvae_ae.objective:Autoencoder",
            "reconstruction alone, by squared error or by the observation's likelihood",
        ),
        ComponentSpec(
            "objective",
            "prior-likelihood",
            "ganvae_ae.prior:PriorLikelihood",
            "the likelihood of an encoder's codes, which trains the prior alone",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            "ae",
            "recipes/ae.yaml",
            "an autoencoder, and a Gaussian mixture fitted to its codes to sample from",
        ),
        RecipeSpec(
            "flow", "recipes/flow.yaml", "an autoencoder, and a normalising flow trained on its codes"
        ),
    ]
