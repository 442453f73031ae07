"""The run directory of a run that starts or goes on, and the callbacks that write into it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ganvae_core.config.configuration import Configuration, with_absolute_path
from ganvae_core.config.render import render
from ganvae_core.data.split import Split
from ganvae_core.plugins.lock import lock_text
from ganvae_core.runs.collapse import CollapseMonitor
from ganvae_core.runs.observers import Pictures, Recorder
from ganvae_core.runs.preparation import Preparation
from ganvae_core.runs.threads import chosen_threads
from ganvae_core.store.directory import CONFIG, DATA, FORMAT, LOCK, RunDirectory, refuse_taken
from ganvae_core.store.ownership import held
from ganvae_core.store.writer import CheckpointWriter
from ganvae_core.training import Callback
from ganvae_core.views.finding import rows_in_words, view_of

FINGERPRINT_ROWS = 64


@contextmanager
def started(
    preparation: Preparation, out: Path | None, callbacks: Sequence[Callback] = ()
) -> Generator[RunDirectory]:
    """A new run directory that is this process's while the block lasts, with what the run is made from written down.

    If the block fails before anything was logged or saved, the directory is taken away again.

    Raises:
        RunError: there is something at ``out``, or it cannot be made.
        TrainingError: its files could not be written.
    """
    ranks = preparation.engine.world
    with ExitStack() as stack:
        made = ranks.from_first(lambda: str(stack.enter_context(_made(preparation, out)).path))
        directory = RunDirectory(Path(made))
        ranks.announce_run(made)
        attach(preparation, directory, callbacks)
        preparation.stages.threads, note = chosen_threads(preparation)
        preparation.stages.notes += [note] if note else []
        yield directory


@contextmanager
def _made(preparation: Preparation, out: Path | None) -> Generator[RunDirectory]:
    configuration = with_absolute_path(preparation.configuration)
    lock = lock_text(preparation.catalogue, configuration.plugins)
    directory = RunDirectory.create(out, f"{configuration.recipe}-{data_name(configuration)}")
    with held(directory.path):
        refuse_taken(directory.path)  # another process may have been quicker
        try:
            directory.write_json(DATA, _data_record(preparation))
            directory.write(LOCK, lock)
            directory.write(CONFIG, render(configuration))  # last: a folder is a run once it is there
            yield directory
        except BaseException:
            if directory.has_nothing_of_training():
                shutil.rmtree(directory.path, ignore_errors=True)
            raise


def go_on(directory: RunDirectory, preparation: Preparation, callbacks: Sequence[Callback] = ()) -> None:
    """Write down what has changed in a run that goes on, and attach the observers. The directory is held."""

    def write_down() -> None:
        directory.write(CONFIG, render(with_absolute_path(preparation.configuration)))
        stages = preparation.stages
        whole = stages.engine.state.complete and not stages.trains
        directory.keep_metrics_until(stages.engine.step_index, whole=whole)

    ranks = preparation.engine.world
    ranks.from_first(write_down)
    ranks.announce_run(str(directory.path))
    attach(preparation, directory, callbacks)


def attach(preparation: Preparation, directory: RunDirectory, callbacks: Sequence[Callback] = ()) -> None:
    """Let an engine write its checkpoints, metrics and pictures into a run directory."""
    engine = preparation.engine
    view = view_of(preparation.data.spec, preparation.catalogue)
    engine.attach(
        CheckpointWriter(directory.path, engine.settings.keep_checkpoints),
        [Recorder(directory), Pictures(directory, view), CollapseMonitor(), *callbacks],
    )


def data_name(configuration: Configuration) -> str:
    """A short name for a run's data: the source's, or the file's or folder's."""
    choice = configuration.components["data"]
    path = choice.options.get("path")
    name = Path(str(path)).name.partition(".")[0] if path else choice.id.partition("/")[2]
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    return kept or "data"


def fingerprint(data: Split) -> str:
    """A SHA-256 of some rows, evenly spread over the data, and of the conditions that the model is given with them."""
    count = len(data.source)
    places = np.linspace(0, count - 1, min(count, FINGERPRINT_ROWS)).round().astype(np.int64)
    rows = data.source.rows(places)
    digest = hashlib.sha256(np.ascontiguousarray(rows.x).tobytes())
    if rows.labels is not None and data.conditional:
        digest.update(np.ascontiguousarray(rows.labels).tobytes())
    return digest.hexdigest()


def _data_record(preparation: Preparation) -> dict[str, Any]:
    data, model = preparation.data, preparation.engine.model
    return {
        "format": FORMAT,
        "spec": data.spec.as_dict(),
        "fingerprint": fingerprint(data),
        "source_spec": data.source.spec.as_dict(),
        "rows": rows_in_words(data.spec, view_of(data.spec, preparation.catalogue)),
        "classes": {name: type(part).__name__ for name, part in model.named_children()},
        "prior_to_fit": preparation.prior_to_fit,
    }
