"""What happens before the first step: data, components, engine and run directory, for a new run or an old one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
import shutil
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ganvae_core.config.build import Builder, conditions_of
from ganvae_core.config.configuration import IN_MEMORY, Configuration, stored, with_absolute_path
from ganvae_core.config.layers import nest, parse_yaml
from ganvae_core.config.render import render
from ganvae_core.data.specifications import read_spec
from ganvae_core.data.split import Split
from ganvae_core.engine.loop import Engine
from ganvae_core.engine.processes import world
from ganvae_core.engine.sharing import held_by_first
from ganvae_core.errors import ConfigurationError, DataError, RunError
from ganvae_core.evaluation.sampling import evenly
from ganvae_core.interfaces import FittedPrior, Source
from ganvae_core.plugins import Catalogue, installed_plugins
from ganvae_core.plugins.lock import changes, lock_text, refuse_missing
from ganvae_core.runs.collapse import CollapseMonitor
from ganvae_core.runs.observers import Pictures, Recorder
from ganvae_core.runs.resuming import continued, differing_settings, new_run, runtime_notes
from ganvae_core.runs.stages import Stages, stage_engine, train_only
from ganvae_core.runs.weights import find_checkpoint, load_initial
from ganvae_core.store.checkpoints import Checkpoint, newest_whole
from ganvae_core.store.directory import CONFIG, DATA, FORMAT, LOCK, RunDirectory, refuse_taken
from ganvae_core.store.ownership import held
from ganvae_core.training import Callback
from ganvae_core.views.finding import rows_in_words, view_of

FINGERPRINT_ROWS = 64


@dataclasses.dataclass(frozen=True)
class Preparation:
    """A run that is ready to train, and has written nothing yet."""

    configuration: Configuration
    catalogue: Catalogue
    builder: Builder
    data: Split
    stages: Stages
    warnings: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    """A sentence for each newer checkpoint that was passed over because it is not whole."""

    @property
    def engine(self) -> Engine:
        """The engine of the current stage."""
        return self.stages.engine

    @property
    def notes(self) -> list[str]:
        """What the person who started the run should know, a sentence each."""
        wanted, batch = self.configuration.engine.batch_size, self.engine.batch_size
        rows = "is only 1 row" if batch == 1 else f"are only {batch:,} rows"
        small = [f"there {rows} to learn from, so the batch is {batch:,} instead of {wanted:,}"]
        unmeasurable = self.builder.unmeasurable(self.engine.model, self.data.source.spec)
        return [
            *self.warnings,
            *self.configuration.notes,
            *self.engine.notes(),
            *(
                f"the metric '{name}' is not applicable and is left out: this run has no {' and no '.join(lacking)}"
                for name, lacking in unmeasurable.items()
            ),
            *self.data.source.notes,
            *self.builder.notes,
            *(small if batch < wanted else []),
        ]


def resume(
    path: str | Path,
    *,
    data: Any = None,
    overrides: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Go on with a run from its newest whole checkpoint, as if it had never stopped, and return its directory.

    A checkpoint that is passed over because it is damaged gives a ``UserWarning``.

    Raises:
        ConfigurationError: a setting that would change what was trained so far is to be changed.
        RunError: it is no run, none of its checkpoints is whole, it has done its steps, or it is in use.
    """
    directory = RunDirectory.open(Path(path))
    changes = dict(overrides or {})
    if isinstance(data, str | Path):
        changes["data"], data = str(data), None
    with held_by_first(directory.path, world()):
        layer = nest(list(changes.items()))
        directory, preparation = world().together(
            lambda: prepare_resume(directory.path, data=data, layer=layer)
        )
        for warning in (*preparation.damage, *preparation.warnings):
            warnings.warn(warning, stacklevel=2)
        go_on(directory, preparation, callbacks)
        preparation.stages.fit()
    return directory.path


def prepare(
    configuration: Configuration,
    catalogue: Catalogue,
    source: Source | None = None,
    *,
    epochs: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> Preparation:
    """Open the data and build everything; wrong pairings are errors here, and nothing is written.

    Args:
        configuration: what to build.
        catalogue: where components come from.
        source: stands in for the configuration's data.
        epochs: passes over the training rows, instead of the configuration's steps.
        checkpoint: that training will go on from: the engine is that of its stage, and is not restored yet.
    """
    data = Builder(configuration, catalogue).split(source)
    if epochs is not None:
        batch = min(configuration.engine.batch_size, len(data.training))
        settings = dataclasses.replace(configuration.engine, steps=-(-epochs * len(data.training) // batch))
        configuration = dataclasses.replace(configuration, engine=settings)
    builder = Builder(configuration, catalogue)
    objective = builder.objective(data.spec, conditions_of(data))
    model = objective.model
    trainable = {parameter for parameter in model.parameters() if parameter.requires_grad}
    warnings = ()
    if configuration.initial is not None and checkpoint is None:
        warnings = load_initial(model, configuration.initial)
    if checkpoint is not None and checkpoint.stage:
        engine = stage_engine(
            builder,
            data,
            model,
            trainable,
            stage=checkpoint.stage,
            first_step=checkpoint.step - checkpoint.stage_step,
            callbacks=builder.callbacks(),
        )
    else:
        train_only(model, trainable, configuration.train)
        engine = Engine(
            objective,
            data,
            configuration.engine,
            optimizers=builder.optimizers(),
            metrics=builder.metrics(model, data.source.spec),
            callbacks=builder.callbacks(),
        )
    _refuse_single_row(engine)
    return Preparation(
        configuration, catalogue, builder, data, Stages(builder, data, engine, trainable), warnings
    )


def _refuse_single_row(engine: Engine) -> None:
    """A prior cannot be fitted to one code: better said now than after training."""
    prior = engine.model.prior
    if isinstance(prior, FittedPrior) and len(engine.data.training) < 2:
        raise DataError(
            f"{type(prior).__name__} is fitted on the codes of two rows or more, and there is one to learn from.",
            "take another prior (prior=normal) or more data",
        )


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
            directory.write(CONFIG, render(configuration))  # last: what has one is a whole run
            yield directory
        except BaseException:
            if directory.has_nothing_of_training():
                shutil.rmtree(directory.path, ignore_errors=True)
            raise


def go_on(directory: RunDirectory, preparation: Preparation, callbacks: Sequence[Callback] = ()) -> None:
    """Write down what has changed in a run that goes on, and attach the observers. The directory is held."""

    def write_down() -> None:
        directory.write(CONFIG, render(with_absolute_path(preparation.configuration)))
        directory.keep_metrics_until(preparation.engine.step_index)

    ranks = preparation.engine.world
    ranks.from_first(write_down)
    ranks.announce_run(str(directory.path))
    attach(preparation, directory, callbacks)


def attach(preparation: Preparation, directory: RunDirectory, callbacks: Sequence[Callback] = ()) -> None:
    """Let an engine write its checkpoints, metrics and pictures into a run directory."""
    engine = preparation.engine
    engine.keep_in(directory.path)
    view = view_of(preparation.data.spec, preparation.catalogue)
    engine.callbacks.extend([Recorder(directory), Pictures(directory, view), CollapseMonitor(), *callbacks])


def prepare_resume(
    path: Path,
    *,
    data: Any = None,
    layer: Mapping[str, Any] | None = None,
    catalogue: Catalogue | None = None,
) -> tuple[RunDirectory, Preparation]:
    """Everything as it was at the newest whole checkpoint of a run, ready to go on; nothing is written.

    A run that was stopped before its first checkpoint begins anew, which comes to the same.

    Raises:
        ConfigurationError: a setting that would change what was trained so far is to be changed, or a plugin of
            the run is not installed.
        DataError: the data cannot be read, or is not what it was.
        RunError: it is no run, none of its checkpoints is whole, or it has done its steps.
    """
    directory = RunDirectory.open(path)
    directory.data_record()  # refuses a run of another format
    catalogue = catalogue or installed_plugins()
    refuse_missing(directory.path / LOCK, catalogue)
    tree = parse_yaml(directory.config_text(), str(directory.path / CONFIG))
    before, configuration = stored(catalogue, tree), stored(catalogue, tree, layer)
    checkpoint, damage = newest_whole(directory.checkpoints)
    _refuse_changes(before, configuration, catalogue, checkpoint, directory, layer or {})
    if checkpoint is None and damage:
        find_checkpoint(directory, None)  # says what is wrong with the newest
    if checkpoint is not None:
        _refuse_finished(path, checkpoint, before, configuration)
    source = _source_again(configuration, directory, data)
    preparation = prepare(configuration, catalogue, source, checkpoint=checkpoint)
    changed = changes(directory.path / LOCK, catalogue)
    _refuse_other_data(preparation, directory)
    if checkpoint is None:
        note = "it was stopped before its first checkpoint, so it begins anew"
        return directory, dataclasses.replace(preparation, warnings=(*changed, note))
    preparation.stages.restore(checkpoint)
    warnings = (*changed, *runtime_notes(checkpoint.manifest, preparation.engine))
    return directory, dataclasses.replace(preparation, warnings=warnings, damage=damage)


def _refuse_finished(path: Path, checkpoint: Checkpoint, before: Configuration, after: Configuration) -> None:
    command = f"ganvae run --resume {shlex.quote(str(path))}"
    done, planned, wanted = checkpoint.stage_step, before.engine.steps, after.engine.steps
    finished = checkpoint.complete and checkpoint.stage == len(after.stages)
    if not finished and (checkpoint.stage or done <= wanted):
        return
    if checkpoint.stage:
        raise RunError(
            f"'{path}' is finished: it has done the {checkpoint.step:,} steps of its stages.",
            f"begin a new run with its weights:  ganvae run --from {shlex.quote(str(path))}",
        )
    if planned > done >= wanted:
        raise RunError(
            f"'{path}' has done {done:,} steps, more than the {wanted:,} asked for.",
            f"go on to the {planned:,} that it began with:  {command}",
        )
    if done >= wanted:
        fewer = f", and {wanted:,} are fewer" if wanted < done else ""
        raise RunError(
            f"'{path}' is finished: it has done its {done:,} steps{fewer}.",
            f"train it for longer:  {command} engine.steps={2 * done}",
        )


def data_name(configuration: Configuration) -> str:
    """A short name for a run's data: the source's, or the file's or folder's."""
    choice = configuration.components["data"]
    path = choice.options.get("path")
    name = Path(str(path)).name.partition(".")[0] if path else choice.id.partition("/")[2]
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    return kept or "data"


def _source_again(configuration: Configuration, directory: RunDirectory, data: Any) -> Source | None:
    choice = configuration.components["data"]
    if data is not None:
        from ganvae_core import as_source

        return as_source(data)
    if choice.id == IN_MEMORY and choice.options.get("path") is None:
        raise RunError(
            f"'{directory.path}' was trained on data given from Python, so it must be given again.",
            "gv.load(RUN).resume(data=x)",
        )
    return None


def _refuse_changes(
    before: Configuration,
    after: Configuration,
    catalogue: Catalogue,
    checkpoint: Checkpoint | None,
    directory: RunDirectory,
    layer: Mapping[str, Any],
) -> None:
    """Raise where settings differ that training up to the checkpoint depends on."""
    changed = differing_settings(before, after, catalogue)
    if checkpoint is not None and checkpoint.stage and before.engine.steps != after.engine.steps:
        changed.append("engine.steps (those of the first stage, which is complete)")
    if changed:
        raise ConfigurationError(
            f"a run goes on with the settings that it was started with; these differ: {', '.join(changed)}.",
            f"start a new run from them:  {new_run(directory, layer)}",
            f"or a new run with its weights:  {continued(directory, layer)}",
        )


def _refuse_other_data(preparation: Preparation, directory: RunDirectory) -> None:
    """The order of the rows and their scaling follow from the data, so it must be what it was."""
    record = directory.data_record()
    try:
        before = json.loads(json.dumps(read_spec(record["spec"]).as_dict()))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{directory.path / DATA} does not hold what a run writes there: {error!r}") from error
    now = json.loads(json.dumps(preparation.data.spec.as_dict()))
    changed = [key for key in ("shape", "count", "fields", "range", "condition", "units")
               if now[key] != before.get(key)]  # fmt: skip
    if record.get("fingerprint") != fingerprint(preparation.data):
        changed.append("values")
    if changed:
        raise DataError(
            f"the data is not what '{directory.path}' was trained on: its {' and '.join(changed)} differ.",
            f"then {before.get('count')} rows of shape {before.get('shape')}, now {now['count']} of {now['shape']}",
        )


def fingerprint(data: Split) -> str:
    """A SHA-256 of some rows, evenly spread over the data, and of the conditions that the model is given with them."""
    rows = data.source.rows(evenly(np.arange(len(data.source)), FINGERPRINT_ROWS))
    digest = hashlib.sha256(np.ascontiguousarray(rows.x).tobytes())
    if rows.labels is not None and data.conditional:
        digest.update(np.ascontiguousarray(rows.labels).tobytes())
    return digest.hexdigest()


def _data_record(preparation: Preparation) -> dict[str, Any]:
    record: dict[str, Any] = {"format": FORMAT, "spec": preparation.data.spec.as_dict()}
    record["fingerprint"] = fingerprint(preparation.data)
    record["source_spec"] = preparation.data.source.spec.as_dict()
    spec = preparation.data.spec
    record["rows"] = rows_in_words(spec, view_of(spec, preparation.catalogue))
    model = preparation.engine.model
    if model.conditions is not None:
        record["conditions"] = list(model.conditions.shape)
    return record
