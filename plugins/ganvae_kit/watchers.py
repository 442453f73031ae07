"""Checks of metrics and callbacks, on a small variational autoencoder."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
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
from ganvae_core.training import Callback, Metric
from ganvae_core.types import Batch, Better, DataSpec, Figure, Loss, Phase
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.models import split_of
from ganvae_kit.places import place_of
from ganvae_kit.situations import IMAGE, TABLE, RandomRows, Situation, seeded
from ganvae_kit.state import changed, remembered, same
from ganvae_kit.subjects import Component
from ganvae_kit.tracing import line_that

STEPS = 6


def small_model(data: DataSpec) -> Model:
    """A model that has everything that a metric may need."""
    import ganvae_core as gv

    with seeded():
        condition = None if data.condition is None else torch.eye(*data.condition)
        observation = gv.Gaussian(data) if data.range is None else gv.Bernoulli(data)
        return gv.Model(
            gv.MLPGenerator([4], data.shape, data.condition, hidden=(8,)),
            gv.StandardNormal([4]),
            observation,
            gv.MLPEncoder(data, [4], data.condition, hidden=(8,)),
            conditions=condition,
        )


@check("metric", needs=["makes"])
def results(component: Component) -> None:
    """It gives finite numbers by the names of its figures, the same each time, and leaves the model as it was."""
    applied, reason = False, ""
    for situation in component.situations:
        metric: Metric = situation.make()
        _declarations(situation, metric)
        where, place = situation.where, place_of(metric.measure)
        for data in (IMAGE, TABLE):
            if "labels" in metric.needs and data.classes is None:
                continue
            model = small_model(data).eval().requires_grad_(False)
            before = remembered(model)
            for rows in (40, 2):
                try:
                    found, again = (_measured(metric, model, data, rows) for _ in range(2))
                except NotApplicable as error:
                    reason = error.message
                    continue
                applied = True
                if not isinstance(found, dict) or (rows > 2 and not found):
                    raise CheckFailure(f"{where}measure returned {found!r}, not numbers by name", place)
                names = {figure.name for figure in metric.figures}
                unknown = found.keys() - names - {f"{name}_error" for name in names}
                if unknown:
                    raise CheckFailure(f"{where}'{min(unknown)}' is the name of none of its figures", place)
                for name, value in found.items():
                    if isinstance(value, torch.Tensor) or not math.isfinite(value):
                        found_ = f"'{name}' is {value!r} for {rows} rows, not a finite number"
                        raise CheckFailure(f"{where}{found_}", place, "a tensor becomes a number by float(x)")
                    if not same(float(value), float(again[name])):
                        twice = f"'{name}' is {value} and then {again[name]}, though the seed is the same"
                        raise CheckFailure(f"{where}{twice}", place)
            moved = changed(before, remembered(model))
            if moved or model.training:
                raise CheckFailure(f"{where}it changes the model: {(moved or ['its mode'])[0]}", place)
    if not applied and reason:
        raise NotChecked(reason)


def _declarations(situation: Situation, metric: Metric) -> None:
    """Its needs and figures are what the core can use.

    Raises:
        CheckFailure: they are not.
    """
    place = place_of(type(metric))
    unknown = metric.needs - set(get_args(Need))
    if unknown:
        raise CheckFailure(
            f"{situation.where}needs names {sorted(unknown)}", place, f"needs: {', '.join(get_args(Need))}"
        )
    figures: Any = getattr(metric, "figures", ())  # of whatever type
    if not figures or not all(isinstance(figure, Figure) for figure in figures):
        raise CheckFailure(
            f"{situation.where}figures is {figures!r}", place, 'figures = (Figure("name", "label"),)'
        )
    directions = {figure.better for figure in figures}
    if not directions <= set(get_args(Better)):
        wrong = f"the direction of a figure is {sorted(map(str, directions))}"
        raise CheckFailure(f"{situation.where}{wrong}", place, "better: higher or lower")


def _measured(metric: Metric, model: Model, data: DataSpec, rows: int) -> Any:
    everything = split_of(data, rows)
    subject = ModelSubject(model, replace(everything, held_out=everything.training))
    with torch.no_grad(), seeded():
        found = metric.measure(subject)
    return dict(found) if hasattr(found, "keys") else found


def small_engine(callbacks: list[Callback], directory: Path | None = None) -> Engine:
    """An engine that trains a small variational autoencoder, with held-out results at each checkpoint."""
    import ganvae_core as gv

    class Bound(gv.Objective):
        needs = frozenset({"prior", "posterior", "likelihood"})

        def __init__(self, model: Model) -> None:
            super().__init__()
            self.model = model

        def phases(self) -> list[Phase]:
            return [Phase("elbo", self.loss, trains=[self.model])]

        def loss(self, batch: Batch) -> Loss:
            return Loss(-self.model.log_likelihood_bound(batch.x, batch.condition).mean())

    settings = EngineSettings(steps=STEPS, batch_size=8, device="cpu", precision="fp32", log_every=1,
                              samples_every=2, checkpoint_every=2, keep_checkpoints=9)  # fmt: skip
    data, metrics = split(RandomRows(IMAGE), held_out=0.25, conditional=False), [Elbo()]
    return Engine(
        Bound(small_model(IMAGE)),
        data,
        settings,
        metrics=metrics,
        callbacks=callbacks,
        saver=None if directory is None else CheckpointWriter(directory, settings.keep_checkpoints),
    )


def _watched(situation: Situation, directory: Path | None) -> tuple[Engine, Callback]:
    callback: Callback = situation.make()
    engine = small_engine([callback], directory)
    with refused_runs():
        engine.fit()
    return engine, callback


@check("callback", needs=["makes"])
def plain_state(component: Component) -> None:
    """Its state is a dictionary that JSON gives back as it was, from the start and at the end of a run."""
    for situation in component.situations:
        callback: Callback = situation.make()
        _plain(situation, callback)
        engine = small_engine([callback])
        with refused_runs():
            engine.fit()
        _plain(situation, callback)


def _plain(situation: Situation, callback: Callback) -> dict[str, Any]:
    """The state as JSON gives it back.

    Raises:
        CheckFailure: it does not.
    """
    state: Any = callback.state_dict()  # of whatever type
    place = place_of(callback.state_dict)
    try:
        plain = json.loads(json.dumps(state))
    except (TypeError, ValueError) as error:
        raise CheckFailure(f"{situation.where}its state is no JSON: {error}", place) from None
    if not isinstance(state, dict) or plain != state:
        raise CheckFailure(f"{situation.where}its state is {state!r}, and comes back from JSON as {plain!r}", place,
                           "a dictionary of numbers, texts and lists, whose keys are texts")  # fmt: skip
    return plain


@contextmanager
def refused_runs() -> Generator[None]:
    """A callback that is for runs of another kind refuses this one.

    Raises:
        NotChecked: it does.
    """
    try:
        yield
    except ConfigurationError as error:
        raise NotChecked(f"it refuses the kit's run: {error.message}") from None


@check("callback", needs=["plain-state"])
def alters_no_run(component: Component) -> None:
    """A run that it watches ends bit for bit as one without it, with a folder or without; it may only stop it early."""
    for situation in component.situations:
        with tempfile.TemporaryDirectory() as folder:
            for directory in (Path(folder), None):
                engine, callback = _watched(situation, directory)
                alone = small_engine([]).fit(engine.step_index)
                moved = changed(remembered(alone.objective), remembered(engine.objective))
                if moved:
                    place = _line_that_alters(situation, directory) or place_of(type(callback))
                    raise CheckFailure(
                        f"{situation.where}a run that it watches ends with another {moved[0]}", place
                    )
                callback.on_error(engine.view(), RuntimeError("an error of the kit"))


def _line_that_alters(situation: Situation, directory: Path | None) -> Any:
    callback: Callback = situation.make()
    engine = small_engine([callback], directory)
    before = remembered(engine.objective)
    inside = {"step": engine.step_index}

    def happened(frame: Any) -> bool:
        nonlocal before
        if engine.step_index != inside["step"]:  # the engine has trained since
            before, inside["step"] = remembered(engine.objective), engine.step_index
            return False
        return bool(changed(before, remembered(engine.objective)))

    return line_that(engine.fit, situation.component.owns, happened)


@check("callback", needs=["alters-no-run"])
def callback_state(component: Component) -> None:
    """What ``state_dict`` gives at the end of a run, ``load_state_dict`` restores in a new one."""
    for situation in component.situations:
        _, callback = _watched(situation, None)
        wanted, restored = _plain(situation, callback), situation.make()
        restored.load_state_dict(wanted)
        found = _plain(situation, restored)
        if found != wanted:
            raise CheckFailure(
                f"{situation.where}after load_state_dict its state is {found}, and it was given {wanted}",
                place_of(callback.load_state_dict),
            )
