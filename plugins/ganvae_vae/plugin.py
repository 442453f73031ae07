"""What the vae plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1

OBJECTIVES = {
    "elbo": (
        "objective:ELBO",
        "the evidence lower bound with a weight β on the KL term (Kingma & Welling 2013)",
    ),
    "iwae": (
        "objective:ImportanceWeighted",
        "the importance-weighted bound of several draws (Burda et al. 2015)",
    ),
    "tc": (
        "disentangling:TotalCorrelation",
        "the bound with a weight on the total correlation (Chen et al. 2018)",
    ),
    "factor": ("disentangling:Factor", "the same, estimated by a critic of codes (Kim & Mnih 2018)"),
    "dip": ("disentangling:DIP", "the bound with a penalty on the codes' covariance (Kumar et al. 2018)"),
    "mmd": ("matching:MMD", "an autoencoder whose codes match the prior by MMD (Tolstikhin et al. 2018)"),
    "sliced": (
        "matching:Sliced",
        "an autoencoder whose codes match the prior on random lines (Kolouri et al. 2018)",
    ),
    "adversarial": ("matching:Adversarial", "an autoencoder with a critic of codes (Makhzani et al. 2015)"),
}
RECIPES = {
    "vae": "a variational autoencoder; of convolutions for images of 16 pixels and more",
    "beta-vae": "a VAE with more weight on the KL term, for separate factors",
    "tc-vae": "a VAE whose codes have independent coordinates, by their total correlation",
    "factor-vae": "the same with a critic of codes",
    "iwae": "a VAE with the tighter bound of several draws",
    "vamp-vae": "a VAE whose prior is made of the posteriors of learned inputs",
    "flow-vae": "a VAE whose prior is a normalising flow",
    "cvae": "a VAE that is given labels, and generates a class that you choose",
    "wae": "a Wasserstein autoencoder: codes match the prior by MMD",
    "swae": "a sliced-Wasserstein autoencoder",
    "aae": "an adversarial autoencoder: a critic holds codes to the prior",
}


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec("objective", name, f"ganvae_vae.{target}", summary)
        for name, (target, summary) in OBJECTIVES.items()
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec(name, f"recipes/{name}.yaml", summary) for name, summary in RECIPES.items()]
