"""Small models, objectives and data, of which the tests of the engine are made."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import ganvae_core as gv
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.stages import Stages

WIDTH = 3


@contextmanager
def in_float64() -> Generator[None]:
    """Models, data and draws in float64, where processors hardly differ after training: see docs/decisions/0023."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def rows(count: int = 40, seed: int = 0) -> np.ndarray:
    """(count, 3) float32 rows with different scales."""
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, WIDTH)) * [1.0, 2.0, 0.5] + [0.0, 5.0, 1.0]).astype(np.float32)


def images(count: int = 40, side: int = 8, seed: int = 0) -> np.ndarray:
    """(count, side, side) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8)


def settings(**changes: Any) -> gv.EngineSettings:
    """Four steps of eight rows on the CPU, logged one by one."""
    values: dict[str, Any] = {
        "steps": 4,
        "batch_size": 8,
        "device": "cpu",
        "precision": "fp32",
        "log_every": 1,
    }
    return gv.EngineSettings(**{**values, **changes})


def optimizer(name: str = "sgd", lr: float = 0.1, **changes: Any) -> dict[str, gv.OptimizerSettings]:
    return {"default": optimizer_settings(name, lr, **changes)}


def optimizer_settings(name: str, lr: float, **changes: Any) -> gv.OptimizerSettings:
    """Settings with the algorithm's own options among them, as a configuration writes them."""
    shared = {key: changes.pop(key) for key in ("schedule", "warmup_samples", "clip_norm") if key in changes}
    algorithms = {"adam": gv.Adam, "adamw": gv.AdamW, "sgd": gv.SGD, "rmsprop": gv.RMSprop}
    return gv.OptimizerSettings(lr, algorithms[name](**changes), **shared)


def model(
    seed: int = 0, *, batch_norm: bool = False, encoder: bool = True, **encoder_options: Any
) -> gv.Model:
    """A model of unbounded rows with two latent dimensions; its weights follow from the seed."""
    torch.manual_seed(seed)
    spec = gv.DataSpec((WIDTH,), None, "table")
    return gv.Model(
        gv.MLPGenerator([2], [WIDTH], hidden=(4,), batch_norm=batch_norm),
        gv.StandardNormal([2]),
        gv.Gaussian(),
        gv.MLPEncoder(spec, [2], hidden=(4,), **encoder_options) if encoder else None,
    )


class FromPhases(gv.Objective):
    """An objective whose modules and phases are given: what a test is about stands in the test."""

    needs = frozenset()

    def __init__(
        self,
        model: gv.Model,
        make: Callable[[FromPhases], Sequence[gv.Phase]],
        **modules: nn.Module,
    ) -> None:
        super().__init__()
        self.model = model
        self.make = make
        for name, module in modules.items():
            self.add_module(name, module)

    def phases(self) -> Sequence[gv.Phase]:
        return self.make(self)


def squared_error(objective: gv.Objective) -> Callable[[gv.Batch], gv.Loss]:
    """A loss without random numbers: the generator maps the first two columns to all three."""

    def loss(batch: gv.Batch) -> gv.Loss:
        made = objective.model.generator(batch.x[:, :2])
        error = (made - batch.x).square().sum(1)
        return gv.Loss(error.mean(), {"error": error.mean()}, {"worst": made.mean(0)})

    return loss


def regression(seed: int = 0, **phase: Any) -> FromPhases:
    """Trains the generator alone, on ``squared_error``."""
    return FromPhases(
        model(seed, encoder=False),
        lambda objective: [
            gv.Phase("regression", squared_error(objective), trains=[objective.model.generator], **phase)
        ],
    )


def engine(objective: gv.Objective, data: Any = None, **changes: Any) -> gv.Engine:
    """An engine with plain SGD on small rows; ``optimizers``, ``callbacks`` … and settings may be given.

    ``directory`` is where its checkpoints go.
    """
    extras = {name: changes.pop(name) for name in ("optimizers", "callbacks", "metrics") if name in changes}
    if "directory" in changes:
        keep = changes.get("keep_checkpoints", settings().keep_checkpoints)
        extras["saver"] = gv.CheckpointWriter(changes.pop("directory"), keep)
    extras.setdefault("optimizers", optimizer())
    return gv.Engine(objective, rows() if data is None else data, settings(**changes), **extras)


def only_stage(training: gv.Engine) -> Stages:
    """The stages of a run that has one, of an engine that was made by hand."""
    configuration = SimpleNamespace(stages=(), engine=training.settings)
    return Stages(cast(Any, SimpleNamespace(configuration=configuration)), training.data, training, set())


def state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    everything = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in everything}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether both hold the same names and, bit for bit, the same values."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Watcher(gv.Callback):
    """Notes what it is told, and when."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.records: list[dict[str, Any]] = []
        self.errors: list[BaseException] = []

    def on_start(self, training: gv.TrainingView) -> None:
        self.events.append(("start", training.step))

    def on_step(self, training: gv.TrainingView, record: Any) -> None:
        self.events.append(("step", training.step))
        self.records.append(dict(record))

    def on_samples(self, training: gv.TrainingView) -> None:
        self.events.append(("samples", training.step))

    def on_checkpoint(self, training: gv.TrainingView) -> None:
        self.events.append(("checkpoint", training.step))

    def on_end(self, training: gv.TrainingView) -> None:
        self.events.append(("end", training.step))

    def on_error(self, training: gv.TrainingView, error: BaseException) -> None:
        self.events.append(("error", training.step))
        self.errors.append(error)


SMALL_NETWORKS: dict[str, Any] = {"generator.hidden": [8], "encoder.hidden": [8]}
OF_CODES = {"prior.width": 8, "prior.layers": 1}
AS_THEY_ARE = ("vae/vae", "ae/ae")
"""Recipes of the family whose own networks are trained in tests."""


def small_settings(recipe: str) -> dict[str, Any]:
    """Settings with which a recipe of the VAE and autoencoder family has small networks; none for others."""
    plugin, _, name = recipe.partition("/")
    if plugin not in ("vae", "ae") or recipe in AS_THEY_ARE:
        return {}
    settings = dict(SMALL_NETWORKS)
    if name in ("vq-vae", "fsq-vae"):
        del settings["encoder.hidden"]
        network = {"name": "mlp", "hidden": [8], "posterior": "dirac"}
        settings |= {"encoder.network": network, "encoder.codes": 16, "prior.heads": 2, **OF_CODES}
    if name in ("latent-flow", "adversarial-ae"):
        settings |= {"prior.steps": 2, **OF_CODES}
    if name in ("factor-vae", "aae", "vae-gan", "adversarial-ae"):
        settings["critic.hidden"] = [8]
    if name == "vamp-vae":
        settings["prior.components"] = 5
    if name in ("flow", "flow-vae"):
        settings |= {"prior.hidden": [8], "prior.transforms": 1}
    return settings


FEW_FILTERS = {"generator.filters": 8, "critic.filters": 8}
NARROW: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("dcgan/dcgan", "ssgan/ssgan"), FEW_FILTERS),
    "table-gan/table-gan": {"generator.hidden": [8], "critic.hidden": [8]},
    "table-vae/table-vae": {**SMALL_NETWORKS, **OF_CODES, "prior.steps": 2},
}


def narrow_settings(recipe: str) -> dict[str, Any]:
    """As ``small_settings``, with small networks for the largest of other families, too."""
    return dict(NARROW.get(recipe) or small_settings(recipe))


OF_OTHER_DATA = ("text-vae", "audio-vae", "audio-gan", "series-vae", "series-gan")
"""Plugins whose recipes take no arrays: the conformance kit trains, breaks off and resumes them."""


def recipes() -> list[str]:
    """``plugin/recipe`` of every recipe for arrays that is installed and ready."""
    return [
        f"{plugin.name}/{recipe.name}"
        for plugin in installed_plugins().ready
        for recipe in plugin.recipes
        if plugin.name not in OF_OTHER_DATA
    ]
