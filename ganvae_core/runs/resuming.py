"""Going on with a run: from which checkpoint, what may have changed, and what has."""

from __future__ import annotations

import dataclasses
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganvae_core.builtin.sources.arrays import as_source
from ganvae_core.config.build import Builder
from ganvae_core.config.configuration import (
    FRAME,
    IN_MEMORY,
    Configuration,
    sampling_options,
    stored,
)
from ganvae_core.config.layers import as_overrides, nest, parse_yaml
from ganvae_core.data.frames import is_frame
from ganvae_core.data.specifications import stored_specs
from ganvae_core.engine.devices import computing_threads, subnormals_as_zero
from ganvae_core.engine.loop import Engine
from ganvae_core.engine.optimizers import lasts_whole_training
from ganvae_core.engine.processes import world
from ganvae_core.errors import ConfigurationError, DataError, RunError
from ganvae_core.interfaces import Source
from ganvae_core.plugins import Catalogue, installed_plugins
from ganvae_core.plugins.lock import changes, refuse_missing
from ganvae_core.runs.preparation import Preparation, prepare
from ganvae_core.runs.stages import steps_in
from ganvae_core.runs.starting import fingerprint, go_on
from ganvae_core.runs.threads import remembered_threads
from ganvae_core.store.checkpoints import Checkpoint, newest_whole
from ganvae_core.store.directory import CONFIG, LOCK, RunDirectory
from ganvae_core.store.ownership import held
from ganvae_core.training import Callback

HARMLESS = frozenset(
    f"engine.{name}"
    for name in (
        "steps", "most_epochs", "log_every", "samples_every", "checkpoint_every", "keep_checkpoints", "evaluate_every",
        "device", "threads",
    )
)  # fmt: skip
"""Settings that do not affect training up to a step."""
MOVABLE = ("path", "labels", "mirror")
"""Options of the data's place; whether it is the same data is decided by its rows."""


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
    with world().entered_by_first(lambda: held(directory.path)):
        layer = nest(list(changes.items()))
        directory, preparation = world().together(
            lambda: prepare_resume(directory.path, data=data, layer=layer)
        )
        for warning in (*preparation.damage, *preparation.warnings):
            warnings.warn(warning, stacklevel=2)
        go_on(directory, preparation, callbacks)
        preparation.stages.fit()
    return directory.path


@subnormals_as_zero()  # torch's threads may begin here
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
    tree = parse_yaml(directory.read(CONFIG), str(directory.path / CONFIG))
    before, configuration = stored(catalogue, tree), stored(catalogue, tree, layer)
    checkpoint, damage = newest_whole(directory.checkpoints)
    _refuse_changes(before, configuration, catalogue, checkpoint, directory, layer or {})
    if checkpoint is None and damage:
        raise RunError(f"'{directory.path}' has no checkpoint that is whole.", *damage)
    if checkpoint is not None:
        _refuse_finished(path, checkpoint, before, configuration)
    frame, data = (data, None) if is_frame(data) else (None, data)
    source = None if frame is not None else _source_again(configuration, directory, data)
    trained = stored_specs(directory)[0]
    preparation = prepare(
        configuration, catalogue, source, frame=frame, checkpoint=checkpoint, trained=trained
    )
    changed = changes(directory.path / LOCK, catalogue)
    _refuse_other_data(preparation, directory)
    if checkpoint is None:
        note = "it was stopped before its first checkpoint, so it begins anew"
        return directory, dataclasses.replace(preparation, warnings=(*preparation.warnings, *changed, note))
    longer = steps_in(configuration, checkpoint.stage) > steps_in(before, checkpoint.stage)
    preparation.stages.restore(checkpoint, longer=longer)
    preparation.stages.threads = remembered_threads(configuration.engine, checkpoint.manifest)
    with computing_threads(preparation.stages.threads):
        differs = tuple(runtime_notes(checkpoint.manifest, preparation.engine))
    warnings = (*preparation.warnings, *changed, *differs)
    return directory, dataclasses.replace(preparation, warnings=warnings, damage=damage)


def _refuse_finished(path: Path, checkpoint: Checkpoint, before: Configuration, after: Configuration) -> None:
    """Raise where no step is left to do."""
    stage, done = checkpoint.stage, checkpoint.stage_step
    planned, wanted = steps_in(before, stage), steps_in(after, stage)
    finished = checkpoint.complete and stage == len(after.stages)
    if done < wanted or (done == wanted and not finished):
        return
    command = f"ganvae run --resume {shlex.quote(str(path))}"
    if done < planned:
        raise RunError(
            f"'{path}' has done {done:,} steps, more than the {wanted:,} asked for.",
            f"go on to the {planned:,} that it began with:  {command}",
        )
    raise RunError(
        f"'{path}' is finished: it has done its {checkpoint.step:,} steps.",
        f"train it for longer:  {command} {steps_key(stage)}={2 * done}",
        f"or begin a new run with its weights:  ganvae run --from {shlex.quote(str(path))}",
    )


def _source_again(configuration: Configuration, directory: RunDirectory, data: Any) -> Source | None:
    choice = configuration.components["data"]
    if data is not None:
        return as_source(data)
    if choice.id in (FRAME, IN_MEMORY) and choice.options.get("path") is None:
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
    current = 0 if checkpoint is None else checkpoint.stage
    if checkpoint is not None and checkpoint.complete and current < len(after.stages):
        current += 1
    changed += [
        f"{steps_key(stage)} (those of {'stage ' + str(stage + 1) if stage else 'the first stage'}, which is complete)"
        for stage in range(min(current, len(before.stages) + 1, len(after.stages) + 1))
        if steps_in(before, stage) != steps_in(after, stage)
    ]
    if changed:
        longer = shlex.join(["ganvae", "run", "--resume", str(directory.path), f"{steps_key(current)}=N"])
        raise ConfigurationError(
            f"a run goes on with the settings that it was started with; these differ: {', '.join(changed)}.",
            f"train stage {current + 1} for N steps instead:  {longer}" if before.stages else "",
            f"start a new run from them:  {new_run(directory, layer)}",
            f"or a new run with its weights:  {continued(directory, layer)}",
        )


def _refuse_other_data(preparation: Preparation, directory: RunDirectory) -> None:
    """The order of the rows and their scaling follow from the data, so it must be what it was."""
    before, now = stored_specs(directory)[0], preparation.data.spec
    changed = [key for key in ("shape", "count", "fields", "range", "condition", "units")
               if getattr(now, key) != getattr(before, key)]  # fmt: skip
    if directory.data_record().get("fingerprint") != fingerprint(preparation.data):
        changed.append("values")
    if changed:
        raise DataError(
            f"the data is not what '{directory.path}' was trained on: its {' and '.join(changed)} differ.",
            f"then {before.count} rows of shape {before.shape}, now {now.count} of {now.shape}",
        )


def differing_settings(before: Configuration, after: Configuration, catalogue: Catalogue) -> list[str]:
    """Each setting that would change what was trained so far: its key, what it was and what it would be."""
    after_training = {
        f"{slot}.{name}" for slot, names in sampling_options(catalogue, after).items() for name in names
    }
    # A prior that is fitted in closed form is fitted when training ends, so its options are free until then.
    fitted_prior = all(Builder(each, catalogue).fits_prior for each in (before, after))
    changed = [
        f"{key} ({_shown(old)} → {_shown(new)})"
        for key, old, new in _differences("", before.as_dict(), after.as_dict())
        if not _is_harmless(key, fitted_prior)
        and key not in after_training
        and not (key.startswith("data.") and key.rpartition(".")[2] in MOVABLE)
    ]
    builder = Builder(after, catalogue)
    for number, stage in enumerate((None, *after.stages)[: len(before.stages) + 1]):
        scheduled = any(lasts_whole_training(used.schedule) for used in builder.optimizers(stage).values())
        if scheduled and steps_in(before, number) != steps_in(after, number):
            changed.append(f"{steps_key(number)} (a learning-rate schedule depends on it)")
    return changed


def steps_key(stage: int) -> str:
    """The setting with the steps of a stage, by its number from 0."""
    return f"stages.{stage - 1}.steps" if stage else "engine.steps"


def new_run(directory: RunDirectory, layer: Mapping[str, Any]) -> str:
    """The command that starts another run with a run's settings, and with changes to them."""
    return shlex.join(["ganvae", "run", "--config", str(directory.path / CONFIG), *as_overrides(layer)])


def continued(directory: RunDirectory, layer: Mapping[str, Any]) -> str:
    """The command that starts another run with a run's weights and settings, and with changes to them."""
    return shlex.join(["ganvae", "run", "--from", str(directory.path), *as_overrides(layer)])


def runtime_notes(manifest: Mapping[str, Any], engine: Engine) -> list[str]:
    """A sentence where a checkpoint was written under another runtime, which rounds, draws or computes otherwise."""
    then, now = manifest.get("runtime"), engine.runtime()
    if not isinstance(then, Mapping):
        return []
    changed = [name for name in now if name != "rows_at_once" and then.get(name, now[name]) != now[name]]
    if not changed:
        return []
    how = "within rounding and not bit for bit"
    if "processes" in changed:  # rows that are computed together draw random numbers together
        how = "within rounding at best, and differently where rows fall into other parts"
    if "device" in changed or "precision" in changed:
        how = "differently, and not within rounding"
    trained = "; ".join(f"{name} {then[name]}, now {now[name]}" for name in changed)
    return [f"it goes on {how}: it was trained with {trained}"]


def _is_harmless(key: str, fitted_prior: bool) -> bool:
    group = key.partition(".")[0]
    steps = group == "stages" and key.endswith(".steps") and key.count(".") == 2
    return key in HARMLESS or steps or group == "callbacks" or (group == "prior" and fitted_prior)


def _differences(key: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            below = f"{key}.{name}" if key else str(name)
            yield from _differences(below, before.get(name), after.get(name))
    elif (
        key == "stages" and isinstance(before, list) and isinstance(after, list) and len(before) == len(after)
    ):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from _differences(f"{key}.{number}", *pair)
    elif before != after:
        yield key, before, after


def _shown(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return (
            f"[{', '.join(str(each.get('name') or each.get('objective', {}).get('name')) for each in value)}]"
        )
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
