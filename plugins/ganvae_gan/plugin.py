"""What the gan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


OBJECTIVES = (
    ("non-saturating", "NonSaturating", "the generator maximises log D(G(z)) (Goodfellow et al. 2014)"),
    ("minimax", "Minimax", "the generator minimises log(1 - D(G(z))) (Goodfellow et al. 2014)"),
    ("least-squares", "LeastSquares", "squared distances to labels 0 and 1 (Mao et al. 2017)"),
    ("hinge", "Hinge", "the hinge loss (Lim and Ye 2017)"),
    ("wasserstein", "Wasserstein", "WGAN, with clipped weights (Arjovsky et al. 2017)"),
    ("wgan-gp", "WassersteinPenalised", "WGAN with a gradient penalty (Gulrajani et al. 2017)"),
    ("relativistic", "Relativistic", "the pairing loss with R1 and R2 of R3GAN (Huang et al. 2024)"),
)


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec("objective", name, f"ganvae_gan.objective:{target}", summary)
        for name, target, summary in OBJECTIVES
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec("gan", "recipes/gan.yaml", "a GAN of fully connected networks, relativistic pairing loss"),
        RecipeSpec("small", "recipes/gan_small.yaml", "a small DCGAN: MNIST in minutes on a CPU"),
    ]
