"""ganvae: train, compare and explore generative latent-variable models.

The names below are the public API. They are resolved when first used (PEP 562), so that importing this package
imports neither torch nor any plugin. ``latent`` has functions on latent spaces, ``losses`` adversarial losses,
``penalties`` gradient penalties, ``divergences`` divergences from samples.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganvae_core.builtin import divergences, penalties, schedule
    from ganvae_core.builtin.augmentation import AdaptiveAugmentation
    from ganvae_core.builtin.layers import CriticHead, FeatureCritic, centred, check_condition
    from ganvae_core.builtin.networks import MLPCritic, MLPEncoder, MLPGenerator
    from ganvae_core.builtin.observations.basic import Bernoulli, Gaussian, Point
    from ganvae_core.builtin.optimizers import SGD, Adam, AdamW, RMSprop
    from ganvae_core.builtin.priors.autoregressive import Autoregressive
    from ganvae_core.builtin.priors.codes import Categorical, Composite, Mixture
    from ganvae_core.builtin.priors.continuous import Hypersphere, StandardNormal, TruncatedNormal, Uniform
    from ganvae_core.builtin.priors.flow import Flow
    from ganvae_core.builtin.priors.gaussian_mixture import GaussianMixture
    from ganvae_core.builtin.priors.latent_flow import LatentFlow
    from ganvae_core.builtin.priors.standardised import StandardisedPrior
    from ganvae_core.builtin.priors.vamp import Vamp
    from ganvae_core.builtin.quantised import QuantisedCodes, QuantisedEncoder
    from ganvae_core.builtin.resnet import ResNetCritic, ResNetEncoder, ResNetGenerator
    from ganvae_core.builtin.schedule import as_schedule
    from ganvae_core.builtin.sources.arrays import as_source
    from ganvae_core.builtin.sources.table_files import read_table
    from ganvae_core.builtin.spectral import normalise_spectrally
    from ganvae_core.data.codec import in_own_units
    from ganvae_core.data.split import Split, split
    from ganvae_core.distributions import (
        DiagonalNormal,
        Dirac,
        TorchObserved,
        TorchPosterior,
        TorchPrior,
        kl,
        register_kl,
        squared_error,
        sum_event,
    )
    from ganvae_core.engine.loop import Engine
    from ganvae_core.engine.optimizers import OptimizerSettings
    from ganvae_core.engine.settings import EngineSettings
    from ganvae_core.errors import (
        ConfigurationError,
        DataError,
        GanvaeError,
        NotApplicable,
        NotFittedError,
        PluginError,
        RunError,
        TrainingError,
    )
    from ganvae_core.evaluation.sampling import batches
    from ganvae_core.evaluation.subject import ModelSubject
    from ganvae_core.interfaces import (
        Critic,
        Encoder,
        FactorisedPosterior,
        FittedPrior,
        Generator,
        LatentPrior,
        MatchedPrior,
        MixturePrior,
        Observation,
        ObservedData,
        Optimizer,
        Posterior,
        Schedule,
        Source,
    )
    from ganvae_core.model import DecodeModule, EncodeModule, Model
    from ganvae_core.plugins import CommandSpec, ComponentSpec, RecipeSpec, hookimpl
    from ganvae_core.runs.loading import Run, load
    from ganvae_core.runs.training import train
    from ganvae_core.store.files import cache_folder
    from ganvae_core.store.writer import CheckpointWriter
    from ganvae_core.training import Callback, Metric, Objective, Subject, TrainingView
    from ganvae_core.types import Batch, DataSpec, Drawing, Field, Figure, Loss, Phase, Rows, Units, View
    from ganvae_core.views.showing import save_picture

__version__ = "0.2.0"

_HOMES = {
    "ganvae_core.builtin": "divergences penalties schedule",
    "ganvae_core.builtin.augmentation": "AdaptiveAugmentation",
    "ganvae_core.builtin.layers": "CriticHead FeatureCritic centred check_condition",
    "ganvae_core.builtin.networks": "MLPCritic MLPEncoder MLPGenerator",
    "ganvae_core.builtin.observations.basic": "Bernoulli Gaussian Point",
    "ganvae_core.builtin.optimizers": "SGD Adam AdamW RMSprop",
    "ganvae_core.builtin.priors.autoregressive": "Autoregressive",
    "ganvae_core.builtin.priors.codes": "Categorical Composite Mixture",
    "ganvae_core.builtin.priors.continuous": "Hypersphere StandardNormal TruncatedNormal Uniform",
    "ganvae_core.builtin.priors.flow": "Flow",
    "ganvae_core.builtin.priors.gaussian_mixture": "GaussianMixture",
    "ganvae_core.builtin.priors.latent_flow": "LatentFlow",
    "ganvae_core.builtin.priors.standardised": "StandardisedPrior",
    "ganvae_core.builtin.priors.vamp": "Vamp",
    "ganvae_core.builtin.quantised": "QuantisedCodes QuantisedEncoder",
    "ganvae_core.builtin.resnet": "ResNetCritic ResNetEncoder ResNetGenerator",
    "ganvae_core.builtin.schedule": "as_schedule",
    "ganvae_core.builtin.sources.arrays": "as_source",
    "ganvae_core.builtin.sources.table_files": "read_table",
    "ganvae_core.builtin.spectral": "normalise_spectrally",
    "ganvae_core.data.codec": "in_own_units",
    "ganvae_core.data.split": "Split split",
    "ganvae_core.distributions": "DiagonalNormal Dirac TorchObserved TorchPosterior TorchPrior kl register_kl"
    " squared_error sum_event",
    "ganvae_core.engine.loop": "Engine",
    "ganvae_core.engine.optimizers": "OptimizerSettings",
    "ganvae_core.engine.settings": "EngineSettings",
    "ganvae_core.errors": "ConfigurationError DataError GanvaeError NotApplicable NotFittedError PluginError RunError"
    " TrainingError",
    "ganvae_core.evaluation.sampling": "batches",
    "ganvae_core.evaluation.subject": "ModelSubject",
    "ganvae_core.interfaces": "Critic Encoder FactorisedPosterior FittedPrior Generator LatentPrior MatchedPrior"
    " MixturePrior Observation ObservedData Optimizer Posterior Schedule Source",
    "ganvae_core.model": "DecodeModule EncodeModule Model",
    "ganvae_core.plugins": "CommandSpec ComponentSpec RecipeSpec hookimpl",
    "ganvae_core.runs.loading": "Run load",
    "ganvae_core.runs.training": "train",
    "ganvae_core.store.files": "cache_folder",
    "ganvae_core.store.writer": "CheckpointWriter",
    "ganvae_core.training": "Callback Metric Objective Subject TrainingView",
    "ganvae_core.types": "Batch DataSpec Drawing Field Figure Loss Phase Rows Units View",
    "ganvae_core.views.showing": "save_picture",
}
"""The public names by the module that defines them."""
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "SGD", "Adam", "AdamW", "AdaptiveAugmentation", "Autoregressive", "Batch", "Bernoulli", "Callback",
    "Categorical", "CheckpointWriter", "CommandSpec", "ComponentSpec", "Composite", "ConfigurationError",
    "Critic", "CriticHead", "DataError", "DataSpec", "DecodeModule", "DiagonalNormal", "Dirac", "Drawing",
    "EncodeModule", "Encoder", "Engine", "EngineSettings", "FactorisedPosterior", "FeatureCritic", "Field", "Figure",
    "FittedPrior", "Flow", "GanvaeError", "Gaussian", "GaussianMixture", "Generator", "Hypersphere",
    "LatentFlow", "LatentPrior", "Loss", "MLPCritic", "MLPEncoder", "MLPGenerator", "MatchedPrior",
    "Metric", "Mixture", "MixturePrior", "Model", "ModelSubject", "NotApplicable", "NotFittedError",
    "Objective", "Observation", "ObservedData", "Optimizer", "OptimizerSettings", "Phase", "PluginError",
    "Point", "Posterior", "QuantisedCodes", "QuantisedEncoder", "RMSprop", "RecipeSpec", "ResNetCritic",
    "ResNetEncoder", "ResNetGenerator", "Rows", "Run", "RunError", "Schedule", "Source", "Split",
    "StandardNormal", "StandardisedPrior", "Subject", "TorchObserved", "TorchPosterior", "TorchPrior",
    "TrainingError", "TrainingView", "TruncatedNormal", "Uniform", "Units", "Vamp", "View", "__version__",
    "as_schedule", "as_source", "batches", "cache_folder", "centred", "check_condition", "divergences",
    "hookimpl", "in_own_units", "kl", "load", "normalise_spectrally", "penalties", "read_table", "register_kl",
    "save_picture", "schedule", "split", "squared_error", "sum_event", "train",
]  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in ("latent", "losses"):
            return importlib.import_module(f"ganvae_core.{name}")
        if name not in _HOME:
            raise AttributeError(f"module 'ganvae_core' has no attribute '{name}'")
        home = importlib.import_module(_HOME[name])
        # A public name may be a module: ``ganvae_core.penalties`` is ``ganvae_core.builtin.penalties``.
        value = getattr(home, name, None) or importlib.import_module(f"{_HOME[name]}.{name}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
