"""Trainings that two processes do together, and that one process does alone to compare with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from toys import (
    FromPhases,
    Watcher,
    engine,
    in_float64,
    model,
    narrow_settings,
    optimizer,
    regression,
    rows,
    squared_error,
)

import ganvae_core as gv
from ganvae_core.config.configuration import Choice, configure
from ganvae_core.config.layers import nest
from ganvae_core.config.options import component_options
from ganvae_core.model import has_batch_norm
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.preparation import prepare
from ganvae_core.types import COST_OF_TRAINING

BATCH, STEPS = 24, 6
SETTINGS: dict[str, Any] = {
    "engine.batch_size": BATCH, "engine.steps": STEPS, "engine.log_every": 2, "engine.device": "cpu",
    "engine.precision": "fp32", "metrics": [],
}  # fmt: skip


UNCOUPLED = ("ae/ae", "ae/flow", "bigan/bigan", "cgan/cgan", "dcgan/dcgan", "gan/gan", "infogan/infogan", "ssgan/ssgan",
             "vae/vae", "vae/iwae", "vae/vamp-vae")  # fmt: skip
"""Recipes whose losses tie no rows together."""
ON_RANKS = (*UNCOUPLED, "ae/vq-vae", "vae/aae", "vae/tc-vae", "vae/factor-vae")
"""Every kind of objective once; other recipes have other options of these."""
NETWORKS = ("generator", "critic", "encoder")


def of_recipe(recipe: str, *, uncoupled: bool, **changes: Any) -> gv.Engine:
    """A recipe's engine on the digits; uncoupled without batch norm, and without what moves with each forward.

    Networks that cannot do without batch norm are replaced by the simplest ones.
    """
    plugin, _, name = recipe.partition("/")
    catalogue = installed_plugins()
    layers = [nest(list({**SETTINGS, **narrow_settings(recipe), **changes}.items()))]
    chosen = configure(catalogue, plugin, name, layers).components
    if uncoupled:
        without = (
            {"objective.spectral_norm": False} if has_option(chosen, "objective", "spectral_norm") else {}
        )
        for slot in NETWORKS:
            if has_option(chosen, slot, "batch_norm"):
                without[f"{slot}.batch_norm"] = False
        layers.append(nest(list(without.items())))
        training = prepare(configure(catalogue, plugin, name, layers), catalogue).engine
        simple = {
            slot: "builtin/mlp"
            for slot in NETWORKS
            if slot in chosen and has_batch_norm(part_of(training, slot))
        }
        if not simple:
            return training
        layers.append(nest(list(simple.items())))
    return prepare(configure(catalogue, plugin, name, layers), catalogue).engine


def part_of(training: gv.Engine, slot: str) -> nn.Module:
    part = getattr(training.objective, slot, None)
    return part if isinstance(part, nn.Module) else getattr(training.model, slot)


def has_option(chosen: Mapping[str, Choice], slot: str, option: str) -> bool:
    if slot not in chosen:
        return False
    catalogue = installed_plugins()
    component = catalogue.load(catalogue.component(slot, chosen[slot].id)[1])  # pyright: ignore
    return option in component_options(component)


def adaptive(**changes: Any) -> gv.Engine:
    """``after`` moves a buffer by averaged statistics, and clips a weight; two phases share an optimizer."""

    def phases(objective: Any) -> list[gv.Phase]:
        def after(averages: Mapping[str, Tensor]) -> None:
            objective.memory.add_(averages["worst"])
            objective.clock.copy_(averages["seen"])
            objective.model.generator.head.bias.clamp_(-0.01, 0.01)

        def loss(batch: gv.Batch) -> gv.Loss:
            found = squared_error(objective)(batch)
            seen = torch.tensor(2.0**40 + batch.samples_seen, dtype=torch.float64)
            noise = torch.rand(len(batch.x)).mean()  # drawn by the first row of the micro-batch
            statistics = {"worst": found.statistics["worst"] + noise, "seen": seen}
            return gv.Loss(found.value + noise, found.terms, statistics)

        def weights_only(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(objective.model.generator.head.weight.square().sum() * batch.x.mean())

        generator = objective.model.generator
        return [
            gv.Phase("main", loss, trains=[generator], after=after, optimizer="one"),
            gv.Phase("lazy", weights_only, trains=[generator], every=2, optimizer="one"),
        ]

    objective = FromPhases(model(encoder=False), phases)
    objective.register_buffer("memory", torch.zeros(3))
    objective.register_buffer("clock", torch.zeros((), dtype=torch.float64))
    options = {"weight_decay": 0.1, "clip_norm": 1.0, "schedule": gv.schedule.Cosine(), "warmup_samples": 20}
    return engine(objective, steps=7, batch_size=9, optimizers=optimizer("adamw", 0.01, **options), **changes)


def sometimes(**changes: Any) -> gv.Engine:
    """A head that only some rows use: of a micro-batch without such a row it has no gradient at all."""

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            value = squared_error(objective)(batch).value
            if (batch.index < 3).any():
                value = value + objective.head(batch.x).square().mean()
            return gv.Loss(value)

        return [gv.Phase("a", loss, trains=[objective.model, objective.head])]

    torch.manual_seed(0)
    objective = FromPhases(model(encoder=False), phases, head=nn.Linear(3, 1))
    return engine(objective, steps=12, batch_size=4, optimizers=optimizer("adam", 0.01), **changes)


def conditional(**changes: Any) -> gv.Engine:
    """Labels, streamed data, and micro-batches within a rank."""
    values = rows()
    data = gv.split(gv.as_source(values, (values[:, 0] > 0).astype(int)), conditional=True)

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            assert batch.condition is not None
            weight = batch.condition @ torch.tensor([1.0, 3.0])
            made = objective.model.generator(batch.x[:, :2])
            return gv.Loss(((made - batch.x).square().sum(1) * weight).mean())

        return [gv.Phase("a", loss, trains=[objective.model])]

    return engine(FromPhases(model(encoder=False), phases), data=data, steps=6, **changes)


def normalised(**changes: Any) -> gv.Engine:
    """Batch norm, one step."""
    objective = FromPhases(
        model(encoder=False, batch_norm=True),
        lambda own: [gv.Phase("a", squared_error(own), trains=[own.model.generator])],
    )
    objective.register_buffer("never_moves", torch.tensor([torch.inf, 0.1]))
    objective.model.generator.register_buffer("mask", torch.tensor([-torch.inf, 0.1, 0.3]))
    return engine(objective, steps=1, batch_size=9, **changes)


def not_finite(**changes: Any) -> gv.Engine:
    """The loss of the last rank's rows is not finite in the third step."""

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            value = squared_error(objective)(batch).value
            bad = training.step_index == 2 and training.world.rank == training.world.size - 1
            return gv.Loss(value / 0 if bad else value)

        return [gv.Phase("game", loss, trains=[objective.model])]

    objective = FromPhases(model(encoder=False), phases)
    training = engine(objective, optimizers=optimizer("adam", 0.01), **changes)
    return training


class StopAt(gv.Callback):
    """Asks for a stop after a step, on rank 0 as all callbacks are."""

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if training.step == 3:
            training.stop("that is enough")


class InterruptAt(gv.Callback):
    """Interrupts training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: gv.TrainingView, record: Any) -> None:
        if training.step == self.step:
            training.interrupt()


class Fails(gv.Callback):
    """Something goes wrong that ganvae knows nothing of."""

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if training.step == 2:
            raise ValueError("no such luck")


def asked_on_rank_1(**changes: Any) -> gv.Engine:
    """The last rank is asked to stop while it computes its third step."""

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            if training.world.rank == training.world.size - 1 and training.step_index == 2:
                training.interrupt()
            return squared_error(objective)(batch)

        return [gv.Phase("a", loss, trains=[objective.model])]

    training = engine(FromPhases(model(encoder=False), phases), steps=9, **changes)
    return training


def augmented(**changes: Any) -> gv.Engine:
    """An augmentation whose target lies between what the critic thinks of each rank's rows in the second step."""
    keys = {f"engine.{key}": value for key, value in changes.items()}
    made = of_recipe("gan/gan", uncoupled=True, **{"objective.augmentation_target": 0.8}, **keys)
    made.objective.augmentation.strength.fill_(0.5)  # what is drawn with it tells strengths apart
    return made


Make = Callable[..., gv.Engine]


def _recipe(name: str, uncoupled: bool) -> Make:
    def make(**changes: Any) -> gv.Engine:
        keys = {f"engine.{key}": value for key, value in changes.items()}
        return of_recipe(name, uncoupled=uncoupled, **keys)

    return make


EQUAL: dict[str, tuple[Make, dict[str, Any], dict[str, Any]]] = {
    **{
        f"uncoupled {name}": (_recipe(name, True), {}, {"micro_batch_size": BATCH // 2}) for name in UNCOUPLED
    },
    "adaptive": (adaptive, {}, {"micro_batch_size": 5}),
    "augmented": (augmented, {}, {"micro_batch_size": BATCH // 2}),
    "sometimes": (sometimes, {}, {"micro_batch_size": 2}),
    "conditional": (conditional, {"micro_batch_size": 2}, {"micro_batch_size": 2}),
    "regression": (lambda **changes: engine(regression(), steps=20, **changes), {}, {"micro_batch_size": 4}),
}
"""What is trained, the settings of two processes, and those with which one process computes the same."""
SHIPPED: dict[str, Make] = {f"shipped {name}": _recipe(name, False) for name in ON_RANKS}
ALIKE: dict[str, Make] = {
    **SHIPPED,
    "normalised": normalised,
    "stops": lambda **changes: engine(regression(), steps=9, callbacks=[StopAt()], **changes),
    "asked on rank 1": asked_on_rank_1,
}
"""What ends alike on all ranks."""
FAIL: dict[str, Make] = {
    "not finite": not_finite,
    "callback": lambda **changes: engine(regression(), callbacks=[Fails()], **changes),
    "unwritable": lambda **changes: engine(regression(), directory=Path("/dev/null/run"), **changes),
    "few rows": lambda **changes: engine(regression(), batch_size=1, **changes),
}


def tensors_after(training: gv.Engine) -> dict[str, Tensor]:
    """All that training has changed: weights, averages, buffers and the optimizers' states."""
    found: dict[str, Tensor] = {}
    for name, module in (("objective", training.objective), ("model", training.model)):
        for key, tensor in [*module.named_parameters(), *module.named_buffers()]:
            found[f"{name}.{key}"] = tensor.detach().clone().contiguous()
    for name, trained in training.state.optimizers.items():
        for number, values in trained.torch_optimizer.state_dict()["state"].items():
            for key, value in values.items():
                if isinstance(value, Tensor):
                    found[f"optimizer.{name}.{number}.{key}"] = value.clone().contiguous()
    return found


def outcome(
    make: Make, changes: dict[str, Any], *, float64: bool = True
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train, and return the tensors and what else is to be known of it.

    In float64 sums in another order agree after training, on every processor: in float32 Adam makes a whole step
    of a gradient that is rounding and nothing else.
    """
    with in_float64() if float64 else contextlib.nullcontext():
        return _outcome(make, changes)


def _outcome(make: Make, changes: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    watcher = Watcher()
    said: dict[str, Any] = {"error": "", "message": "", "step": -1}
    tensors: dict[str, Tensor] = {}
    try:
        training = make(**changes)
        training.callbacks.append(watcher)
        try:
            training.fit()
        finally:
            said["step"] = training.step_index
            tensors = tensors_after(training)
    except (gv.GanvaeError, ValueError) as error:
        said |= {"error": type(error).__name__, "message": str(error)}
    for record in watcher.records:
        for key in COST_OF_TRAINING:
            record.pop(key, None)
    return tensors, json.loads(json.dumps({**said, "records": watcher.records, "events": watcher.events}))
