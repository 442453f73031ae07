"""Checks of metrics and callbacks, on a small variational autoencoder."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from ganvae_core.builtin.metrics import Elbo
from ganvae_core.data.split import split
from ganvae_core.engine.loop import Engine
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.errors import ConfigurationError, NotApplicable
from ganvae_core.evaluation.subject import ModelSubject
from ganvae_core.interfaces import Need
from ganvae_core.model import Model
from ganvae_core.store.writer import CheckpointWriter
from ganvae_core.training import Callback, Metric, Objective
from ganvae_core.types import Batch, Better, DataSpec, Figure, Loss, Phase
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.data import IMAGE, TABLE, RandomRows, seeded, split_of
from ganvae_kit.models import ENGINE, small_model
from ganvae_kit.situations import Situation, situations
from ganvae_kit.state import changed, remembered, same

STEPS = 6


@check("metric", needs=["makes"], each=situations)
def results(situation: Situation) -> None:
    """It gives finite numbers by the names of its figures, the same each time, and leaves the model as it was."""
    metric: Metric = situation.make()
    _check_declarations(metric)
    reasons: list[str] = []
    for data in (IMAGE, TABLE):
        if "labels" in metric.needs and data.classes is None:
            continue
        model = small_model(data).eval().requires_grad_(False)
        before = remembered(model)
        for rows in (130, 2):
            try:
                found, again = (_measured(metric, model, data, rows) for _ in range(2))
            except NotApplicable as error:
                reasons.append(error.message)
            else:
                _check_results(metric, found, again, rows)
        moved = changed(before, remembered(model)) or ["its mode"] * model.training
        if moved:
            raise CheckFailure(f"it changes the model: {moved[0]}")
    if len(reasons) == 4:
        raise NotChecked(reasons[0])


def _check_declarations(metric: Metric) -> None:
    """Its needs and figures are what the core can use.

    Raises:
        CheckFailure: they are not.
    """
    figures: Any = getattr(metric, "figures", ())  # of whatever type
    if unknown := metric.needs - set(get_args(Need)):
        raise CheckFailure(f"needs names {sorted(unknown)}", f"needs: {', '.join(get_args(Need))}")
    if not figures or not all(isinstance(figure, Figure) for figure in figures):
        raise CheckFailure(f"figures is {figures!r}", 'figures = (Figure("name", "label"),)')
    if wrong := {figure.better for figure in figures} - set(get_args(Better)):
        raise CheckFailure(
            f"the direction of a figure is {sorted(map(str, wrong))}", "better: higher or lower"
        )


def _check_results(metric: Metric, found: Any, again: Any, rows: int) -> None:
    """Its results are finite numbers with the names of its figures, and the same twice.

    Raises:
        CheckFailure: they are not.
    """
    if not isinstance(found, dict) or (rows > 2 and not found):
        raise CheckFailure(f"measure returned {found!r}, not numbers by name")
    names = {figure.name for figure in metric.figures}
    if unknown := found.keys() - names - {f"{name}_error" for name in names}:
        raise CheckFailure(f"'{min(unknown)}' is not the name of one of its figures")
    for name, value in found.items():
        if isinstance(value, torch.Tensor) or not math.isfinite(value):
            message = f"'{name}' is {value!r} for {rows} rows, not a finite number"
            raise CheckFailure(message, "a tensor becomes a number by float(x)")
        if not same(float(value), float(again[name])):
            raise CheckFailure(f"'{name}' is {value} and then {again[name]}, though the seed is the same")


def _measured(metric: Metric, model: Model, data: DataSpec, rows: int) -> Any:
    everything = split_of(data, rows)
    subject = ModelSubject(model, replace(everything, held_out=everything.training))
    with torch.no_grad(), seeded():
        found = metric.measure(subject)
    return dict(found) if hasattr(found, "keys") else found


class Bound(Objective):
    """The evidence lower bound.

    Args:
        model: with an encoder and a likelihood.
    """

    needs = frozenset({"prior", "posterior", "likelihood"})

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def phases(self) -> list[Phase]:
        return [Phase("elbo", self.loss, trains=[self.model])]

    def loss(self, batch: Batch) -> Loss:
        return Loss(-self.model.log_likelihood_bound(batch.x, batch.condition).mean())


def small_engine(callbacks: list[Callback], directory: Path | None = None) -> Engine:
    """An engine that trains a small variational autoencoder, with held-out results at each checkpoint."""
    every: dict[str, Any] = {"samples_every": 2, "checkpoint_every": 2, "keep_checkpoints": 9}
    saver = None if directory is None else CheckpointWriter(directory, every["keep_checkpoints"])
    data = split(RandomRows(IMAGE), held_out=0.25, conditional=False)
    settings = EngineSettings(steps=STEPS, **{**ENGINE, **every})
    return Engine(
        Bound(small_model(IMAGE)), data, settings, metrics=[Elbo()], callbacks=callbacks, saver=saver
    )


def _watched(situation: Situation, directory: Path | None = None) -> tuple[Engine, Callback]:
    """A run with the callback, to its end.

    Raises:
        NotChecked: the callback refuses it, because it is for runs of another kind.
    """
    callback: Callback = situation.make()
    engine = small_engine([callback], directory)
    try:
        engine.fit()
    except ConfigurationError as error:
        raise NotChecked(f"it refuses the kit's run: {error.message}") from None
    return engine, callback


@check("callback", needs=["makes"], each=situations)
def plain_state(situation: Situation) -> None:
    """Its state is a dictionary that JSON gives back as it was, from the start and at the end of a run."""
    _plain(situation.make())
    _plain(_watched(situation)[1])


def _plain(callback: Callback) -> dict[str, Any]:
    """The state as JSON gives it back.

    Raises:
        CheckFailure: it does not.
    """
    state: Any = callback.state_dict()  # of whatever type
    try:
        plain = json.loads(json.dumps(state))
    except (TypeError, ValueError) as error:
        raise CheckFailure(f"its state is not JSON: {error}") from None
    if not isinstance(state, dict) or plain != state:
        hint = "a dictionary of numbers, texts and lists, whose keys are texts"
        raise CheckFailure(f"its state is {state!r}, and comes back from JSON as {plain!r}", hint)
    return plain


@check("callback", needs=["plain-state"], each=situations)
def alters_no_run(situation: Situation) -> None:
    """A run that it watches ends bit for bit as one without it, with a folder or without; it may only stop it early."""
    with tempfile.TemporaryDirectory() as folder:
        for directory in (Path(folder), None):
            engine, callback = _watched(situation, directory)
            alone = small_engine([]).fit(engine.step_index)
            moved = changed(remembered(alone.objective), remembered(engine.objective))
            if moved:
                raise CheckFailure(f"a run that it watches ends with a different {moved[0]}")
            callback.on_error(engine.view(), RuntimeError("an error of the kit"))


@check("callback", needs=["alters-no-run"], each=situations)
def callback_state(situation: Situation) -> None:
    """What ``state_dict`` gives at the end of a run, ``load_state_dict`` restores in a new one."""
    wanted, restored = _plain(_watched(situation)[1]), situation.make()
    restored.load_state_dict(wanted)
    found = _plain(restored)
    if found != wanted:
        message = f"after load_state_dict its state is {found}, and it was given {wanted}"
        raise CheckFailure(message)
