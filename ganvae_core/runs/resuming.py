"""What may change when a run goes on, and what has."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

from ganvae_core.config.configuration import Configuration
from ganvae_core.config.layers import as_overrides
from ganvae_core.engine.settings import ROLLBACK
from ganvae_core.errors import ConfigurationError
from ganvae_core.store.directory import CONFIG, RunDirectory

if TYPE_CHECKING:
    from ganvae_core.engine.loop import Engine

HARMLESS = frozenset(
    f"engine.{name}"
    for name in (
        "steps", "log_every", "samples_every", "checkpoint_every", "keep_checkpoints", "evaluate_every", "device",
        "on_nonfinite", "on_callback_error",
    )
)  # fmt: skip
"""Settings that change nothing of what is trained up to a step."""
MOVABLE = ("path", "labels", "mirror")
"""Options of data that say where it lies; that it is the same data is seen from the rows."""


def differing_settings(before: Configuration, after: Configuration) -> list[str]:
    """Each setting that would change what was trained so far: its key, what it was and what it would be."""
    changed = [
        f"{key} ({_shown(old)} → {_shown(new)})"
        for key, old, new in _differences("", before.as_dict(), after.as_dict())
        if not _is_harmless(key, after)
        and not (key.startswith("data.") and key.rpartition(".")[2] in MOVABLE)
    ]
    scheduled = any(settings.schedule != "constant" for settings in after.optimizers.values())
    if scheduled and before.engine.steps != after.engine.steps:
        changed.append("engine.steps (a learning-rate schedule depends on it)")
    return changed


def new_run(directory: RunDirectory, layer: Mapping[str, Any]) -> str:
    """The command that starts another run with a run's settings, and with changes to them."""
    return shlex.join(["ganvae", "run", "--config", str(directory.path / CONFIG), *as_overrides(layer)])


def refuse_other_policy(
    before: Configuration, after: Configuration, manifest: Mapping[str, Any], directory: RunDirectory
) -> None:
    """Until something was not finite, all policies lead to the same weights, and from there on to others.

    Raises:
        ConfigurationError: it is to be changed after something was not finite.
    """
    from ganvae_core.engine.recovery import Recovery

    old, new = before.engine.on_nonfinite, after.engine.on_nonfinite
    if old != new and Recovery.stored(manifest).happened:
        raise ConfigurationError(
            f"engine.on_nonfinite: this run has met numbers that were not finite, and with '{new}' it would have gone"
            f" another way than with '{old}'.",
            f"start a new run from its settings:  {new_run(directory, {'engine': {'on_nonfinite': new}})}",
        )


def other_circumstances(manifest: Mapping[str, Any], engine: Engine) -> Iterator[str]:
    """A sentence where a checkpoint was written under circumstances that round, draw or compute otherwise."""
    from ganvae_core.engine.saving import circumstances

    then, now = manifest.get("circumstances"), circumstances(engine)
    if not isinstance(then, Mapping):
        return
    changed = {
        name: f"{name} {then[name]}, now {value}"
        for name, value in now.items()
        if then.get(name, value) != value
    }
    if not changed:
        return
    trained = f"it was trained with {'; '.join(changed.values())}"
    reasons = _reasons(changed.keys(), manifest, then, engine)
    if reasons:
        yield f"it goes on differently, and not within rounding, since it {' and '.join(reasons)}: {trained}"
    else:
        yield f"it goes on within rounding and not bit for bit: {trained}"


def _reasons(
    changed: Set[str], manifest: Mapping[str, Any], then: Mapping[str, Any], engine: Engine
) -> list[str]:
    """Why a run whose circumstances have changed does not go on as it would have, not even nearly."""
    from ganvae_core.engine.phases import has_spectral_norm
    from ganvae_core.engine.sharing import parts

    shared = "processes" in changed
    tied = shared and any(prepared.couples_rows for prepared in engine.phases)
    split_otherwise = shared and _parts_of(manifest, then["processes"], engine) != parts(
        engine.batch_size, engine.world.size, engine.recovery.micro_batch_size
    )
    found: list[str] = []
    if tied or split_otherwise or "device" in changed:  # each kind of device has random numbers of its own
        found.append("draws other random numbers")
    if tied or "precision" in changed or (shared and has_spectral_norm(engine.objective)):
        found.append("computes otherwise")
    return found


def _parts_of(manifest: Mapping[str, Any], processes: Any, engine: Engine) -> list[tuple[int, int]]:
    from ganvae_core.engine.sharing import parts

    rows_at_once, most = manifest.get("rows_at_once"), engine.batch_size
    if type(processes) is not int or not 1 <= processes <= most:  # somebody else may have written it
        return []
    return parts(most, processes, rows_at_once if type(rows_at_once) is int and rows_at_once > 0 else None)


def _is_harmless(key: str, after: Configuration) -> bool:
    if key == "engine.checkpoint_every" and after.engine.on_nonfinite == ROLLBACK:
        return False  # training goes back to a checkpoint that was due
    return (
        key in HARMLESS or key.partition(".")[0] == "callbacks"
    )  # which only watch, and may have ended the run


def _differences(key: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            below = f"{key}.{name}" if key else str(name)
            yield from _differences(below, before.get(name), after.get(name))
    elif before != after:
        yield key, before, after


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
