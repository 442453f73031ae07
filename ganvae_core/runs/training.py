"""Training from Python: what the command line does, as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganvae_core.builtin.sources.arrays import as_source
from ganvae_core.config.configuration import FRAME, IN_MEMORY, configure
from ganvae_core.config.layers import nest
from ganvae_core.data.frames import is_frame
from ganvae_core.engine.processes import world
from ganvae_core.errors import ConfigurationError
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.loading import Run, load
from ganvae_core.runs.preparation import Preparation, prepare
from ganvae_core.runs.starting import started
from ganvae_core.store.directory import refuse_taken
from ganvae_core.training import Callback


def train(
    plugin: str,
    *,
    recipe: str | None = None,
    data: Any = None,
    labels: Any = None,
    steps: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train a plugin's recipe and return the run.

    Args:
        plugin: whose recipe, ``"vae"`` for example.
        recipe: its name; by default the plugin's own.
        data: a source's name, a path, an array, a tensor, a map-style dataset, or a data frame of pandas, polars or
            Arrow; by default the recipe's.
        labels: (N,) for an array or a tensor.
        steps: short for ``overrides={"engine.steps": steps}``.
        overrides: settings by dotted key, ``{"objective.beta": 2}``.
        out: the run directory; by default the next free ``runs/<recipe>-<data>-<n>``.
        callbacks: further callbacks.

    Under torchrun, or in a process group of torch, all processes call it alike, train together and return the same
    run; the callbacks are called in that of rank 0.

    Raises:
        ConfigurationError, DataError, PluginError: something is wrong before the first step.
        TrainingError: something went wrong later.
    """
    catalogue = installed_plugins()
    pairs = list((overrides or {}).items())
    if steps is not None:
        pairs.append(("engine.steps", steps))
    source = frame = None
    if labels is not None and (data is None or isinstance(data, str | Path) or is_frame(data)):
        raise ConfigurationError(
            "labels= goes with an array or a tensor; a named source brings its own.",
            'a column of a data frame:  overrides={"data.label": "COLUMN"}',
        )
    if isinstance(data, str | Path):
        pairs.append(("data", str(data)))
    elif is_frame(data):
        frame = data
        pairs.insert(0, ("data", FRAME))
    elif data is not None:
        source = as_source(data, labels)
        pairs.append(("data", IN_MEMORY))
    directory = None if out is None else Path(out)

    def prepared() -> Preparation:
        if directory is not None and world().first:
            refuse_taken(directory)
        return prepare(configure(catalogue, plugin, recipe, [nest(pairs)]), catalogue, source, frame=frame)

    preparation = world().together(prepared)
    with started(preparation, directory, callbacks) as made:
        preparation.stages.fit()
    return load(made.path)
