"""One run of a row: its configuration, and training that goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import in_memory, settings_of
from figure import Row
from filelock import FileLock

import ganvae_core as gv
from ganvae_core.config.configuration import Configuration, configure, with_absolute_path
from ganvae_core.config.layers import nest
from ganvae_core.config.render import render
from ganvae_core.config.settings import InitialWeights
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.preparation import prepare
from ganvae_core.runs.starting import go_on, started
from ganvae_core.runs.weights import find_checkpoint
from ganvae_core.store.checkpoints import Checkpoint
from ganvae_core.store.directory import RunDirectory
from ganvae_core.store.ownership import held

CHECKPOINTS, FEWEST_STEPS = 20, 1_000
"""What a run that is interrupted loses at most: a twentieth of it, or so many steps."""
MEASURED = "measured"
"""An empty file in the folder of a run whose result is stored: to measure it again is to train it again."""
WATCHING = {"samples_every": 0, "log_every": 100, "keep_checkpoints": 1}


class Stopwatch(gv.Callback):
    """The seconds of a run, over interruptions."""

    def __init__(self) -> None:
        self._before = 0.0
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """Up to now, without what was trained after the last checkpoint before an interruption."""
        return self._before + (0.0 if self._began is None else time.perf_counter() - self._began)

    def on_start(self, training: gv.TrainingView) -> None:
        self._before, self._began = self.seconds, time.perf_counter()  # a stage adds to those before

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._before, self._began = float(state["seconds"]), None


@dataclass(frozen=True)
class Trained:
    """A run that has been trained.

    Args:
        run: with its averaged model.
        objective: with its critic and whatever else the loss needed, in evaluation mode.
        seconds: of training.
        samples_seen: rows of real data that training used in all.
        data: of its row.
    """

    run: gv.Run
    objective: gv.Objective
    seconds: float
    samples_seen: int
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])


def configuration_of(row: Row, seed: int, *, steps: int | None = None) -> Configuration:
    """The complete configuration of one run.

    Args:
        row: one with a plugin.
        seed: of the run.
        steps: in place of the row's budget and at most in each further stage, to try whether it works.

    Raises:
        ConfigurationError, PluginError: something that it names does not exist, or is not ready.
    """
    assert row.plugin is not None
    layers = [
        {"data": settings_of(row.data), "engine": WATCHING},
        *(nest(list(layer.items())) for layer in row.overrides),
        {"engine": {"seed": seed}},
    ]
    configuration = configure(installed_plugins(), row.plugin, row.recipe, layers)
    engine = configuration.engine
    wanted = steps or row.steps or -(-(row.samples or 0) // engine.batch_size)
    engine = dataclasses.replace(
        engine, steps=wanted, checkpoint_every=max(FEWEST_STEPS, wanted // CHECKPOINTS)
    )
    stages = configuration.stages
    if steps:
        stages = tuple(dataclasses.replace(stage, steps=min(stage.steps, steps)) for stage in stages)
    return with_absolute_path(dataclasses.replace(configuration, engine=engine, stages=stages))


def definition(row: Row) -> dict[str, Any]:
    """What the row's values follow from, as plain JSON.

    The seed, what only this machine has, and the metrics of a run, which change nothing that is trained, are left out.
    """
    tree: dict[str, Any] = {"data": row.data, "measures": row.measures}
    if row.plugin is not None:
        configuration = configuration_of(row, seed=0)
        tree["configuration"] = configuration.as_dict()
        tree["configuration"]["data"] = dataclasses.asdict(configuration.data)
        del tree["configuration"]["metrics"]
        for key in ("seed", "device", "checkpoint_every", *WATCHING):
            del tree["configuration"]["engine"][key]
    if row.start is not None:
        tree["start"] = definition(row.start)
    return json.loads(json.dumps(tree))


def covers(now: Any, before: Any) -> bool:
    """Whether all that a definition said before is still so; what it did not know yet does not count."""
    if isinstance(before, Mapping):
        return isinstance(now, Mapping) and all(
            key in now and covers(now[key], below) for key, below in before.items()
        )
    return bool(now == before)


def train(row: Row, seed: int, folder: Path, *, steps: int | None = None, anew: bool = True) -> Trained:
    """Train one run in its folder, or go on with what lies there if that was made from the same settings.

    A row that starts from another is trained from the run of that row with the same seed, in a folder beside this one.
    That run is trained first where it is not there.

    Args:
        row: one with a plugin.
        seed: of the run.
        folder: the run directory; the last part of its name is the row's name and the seed.
        steps: of a trial, in place of the row's budget.
        anew: train it again where its result is stored.

    Raises:
        GanvaeError: it cannot be trained, or something went wrong in it.
    """
    configuration = configuration_of(row, seed, steps=steps)
    if row.start is not None:
        name = folder.name.removesuffix(f"{row.name}-{seed}") + f"{row.start.name}-{seed}"
        beginning = folder.with_name(f"{folder.name}-start" if steps else name)
        train(row.start, seed, beginning, steps=steps, anew=False)
        configuration = dataclasses.replace(configuration, initial=InitialWeights(str(beginning.absolute())))
    watch = Stopwatch()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # rows that start from it may run at the same time
        checkpoint = _checkpoint(folder, configuration, anew=anew)
        preparation = prepare(configuration, installed_plugins(), in_memory(row.data), checkpoint=checkpoint)
        stages = preparation.stages
        if checkpoint is None:
            shutil.rmtree(folder, ignore_errors=True)
            with started(preparation, folder, [watch]):
                stages.fit()
        else:
            stages.restore(checkpoint)
            if stages.complete:
                kept = {state["callback"]: state["state"] for state in stages.engine.state.callback_states}
                watch.load_state_dict(kept[Stopwatch.__qualname__])
            else:
                with held(folder):
                    go_on(RunDirectory.open(folder), preparation, [watch])
                    stages.fit()
    engine = stages.engine
    run = gv.load(folder, device=str(engine.device))
    return Trained(run, engine.objective.eval(), watch.seconds, engine.samples_seen, row.data)


def mark_measured(folder: Path) -> None:
    """Say that the result of the run in a folder is stored, if there is a run."""
    if folder.is_dir():
        (folder / MEASURED).touch()


def _checkpoint(folder: Path, configuration: Configuration, *, anew: bool) -> Checkpoint | None:
    """The newest checkpoint of a run of this configuration, if the folder holds one that is whole.

    With ``anew`` a run whose result is stored does not count.
    """
    if anew and (folder / MEASURED).exists():
        return None
    try:
        directory = RunDirectory.open(folder)
        same = directory.read("config.yaml") == render(configuration)
        return find_checkpoint(directory, None)[0] if same else None
    except gv.RunError:
        return None
