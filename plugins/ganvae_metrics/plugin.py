"""The metrics that this plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, hookimpl

ganvae_api = 1

METRICS = {
    "samples": {
        "frechet": ("FrechetDistance", "Fréchet distance of samples to held-out rows"),
        "kernel": ("KernelDistance", "kernel distance, unbiased, with its standard error"),
        "manifolds": ("Manifolds", "precision, recall, density and coverage"),
        "sliced-wasserstein": ("SlicedWasserstein", "distance of random projections"),
        "two-sample": ("TwoSample", "1-NN accuracy in telling samples from data"),
        "bins": ("DifferentBins", "clusters that samples fill otherwise (NDB)"),
        "diversity": ("Diversity", "how far samples lie apart, over the data"),
        "memorisation": ("Memorisation", "how near samples are to training rows"),
        "modes": ("Modes", "modes that samples reach, where the source names them"),
        "judge": ("JudgeAccuracy", "accuracy of the classifier whose features metrics are taken in"),
        "as-asked": ("AsAsked", "classes that a judge finds in samples made for them"),
    },
    "likelihood": {
        "importance-bound": ("ImportanceBound", "importance-weighted bound of log p(x)"),
        "latent-use": ("LatentUse", "active units and KL divergence of codes"),
        "aggregate": ("AggregatePosterior", "how far the codes of the data are from the prior"),
    },
    "reconstructions": {
        "fidelity": ("Fidelity", "MSE, PSNR and SSIM of reconstructions"),
    },
    "representations": {
        "probe": ("Probe", "what codes say of labels"),
        "own-classes": ("OwnClasses", "whether a mixture prior's components are the classes"),
        "disentanglement": ("Disentanglement", "MIG, SAP, FactorVAE and DCI scores"),
    },
    "tables": {
        "table": ("TableSimilarity", "similarity of columns and of pairs of columns"),
        "utility": ("Utility", "classifiers that learn from samples, tested on data"),
        "classifier": ("ClassifierTwoSample", "gradient boosting in telling samples from data"),
    },
}


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec("metric", name, f"ganvae_metrics.{module}:{target}", summary)
        for module, offered in METRICS.items()
        for name, (target, summary) in offered.items()
    ]
