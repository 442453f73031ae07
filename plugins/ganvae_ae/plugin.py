"""What the ae plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1

OBJECTIVES = {
    "autoencoder": ("objective:Autoencoder", "reconstruction, also denoising, contractive or regularised"),
    "vq": (
        "vector_quantised:VectorQuantised",
        "reconstruction through entries of a codebook (van den Oord et al. 2017)",
    ),
    "adversarial-autoencoder": (
        "adversarial:AdversarialAutoencoder",
        "reconstruction and a critic of images (Esser et al. 2021)",
    ),
    "vae-gan": (
        "adversarial:VAEGAN",
        "a VAE whose error is in the features of a critic (Larsen et al. 2016)",
    ),
}
RECIPES = {
    "ae": "an autoencoder, and a Gaussian mixture fitted to its codes to sample from",
    "flow": "an autoencoder, and a normalising flow trained on its codes",
    "latent-flow": "an autoencoder, and flow matching on its codes",
    "dae": "a denoising autoencoder, and a Gaussian mixture fitted to its codes",
    "rae": "a regularised autoencoder, and a Gaussian mixture fitted to its codes",
    "vq-vae": "an autoencoder with a codebook, and an autoregressive prior over its entries",
    "fsq-vae": "the same with finite scalar quantisation in place of a learned codebook",
    "vae-gan": "a VAE that measures its error in the features of a critic",
    "adversarial-ae": "an autoencoder with a critic of images, and flow matching on its codes",
}


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec("objective", name, f"ganvae_ae.{target}", summary)
        for name, (target, summary) in OBJECTIVES.items()
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec(name, f"recipes/{name}.yaml", summary) for name, summary in RECIPES.items()]
