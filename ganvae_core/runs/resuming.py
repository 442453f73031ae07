"""Changes of settings and runtime between a run and its resumption."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

from ganvae_core.config.build import Builder
from ganvae_core.config.configuration import Configuration, sampling_options
from ganvae_core.config.layers import as_overrides
from ganvae_core.engine.optimizers import lasts_whole_training
from ganvae_core.plugins import Catalogue
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
"""Settings that do not affect training up to a step."""
MOVABLE = ("path", "labels", "mirror")
"""Options of the data's place; whether it is the same data is decided by its rows."""


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
    optimizers = Builder(after, catalogue).optimizers().values()
    scheduled = any(lasts_whole_training(settings.schedule) for settings in optimizers)
    if scheduled and before.engine.steps != after.engine.steps:
        changed.append("engine.steps (a learning-rate schedule depends on it)")
    return changed


def new_run(directory: RunDirectory, layer: Mapping[str, Any]) -> str:
    """The command that starts another run with a run's settings, and with changes to them."""
    return shlex.join(["ganvae", "run", "--config", str(directory.path / CONFIG), *as_overrides(layer)])


def continued(directory: RunDirectory, layer: Mapping[str, Any]) -> str:
    """The command that starts another run with a run's weights and settings, and with changes to them."""
    return shlex.join(["ganvae", "run", "--from", str(directory.path), *as_overrides(layer)])


def runtime_notes(manifest: Mapping[str, Any], engine: Engine) -> Iterator[str]:
    """A sentence where a checkpoint was written under another runtime, which rounds, draws or computes otherwise."""
    then, now = manifest.get("runtime"), engine.runtime()
    if not isinstance(then, Mapping):
        return
    changed = {
        name: f"{name} {then[name]}, now {value}"
        for name, value in now.items()
        if name != "rows_at_once" and then.get(name, value) != value
    }
    if not changed:
        return
    trained = f"it was trained with {'; '.join(changed.values())}"
    reasons = _reasons(changed.keys(), then, engine)
    if reasons:
        yield f"it goes on differently, and not within rounding, since it {' and '.join(reasons)}: {trained}"
    else:
        yield f"it goes on within rounding and not bit for bit: {trained}"


def _reasons(changed: Set[str], then: Mapping[str, Any], engine: Engine) -> list[str]:
    """Why a resumed run differs from an uninterrupted one by more than rounding."""
    from ganvae_core.engine.phases import has_spectral_norm
    from ganvae_core.engine.sharing import parts

    shared = "processes" in changed
    tied = shared and any(prepared.couples_rows for prepared in engine.phases)
    split_otherwise = shared and _parts_of(then, engine) != parts(
        engine.batch_size, engine.world.size, engine.state.recovery.micro_batch_size
    )
    found: list[str] = []
    if tied or split_otherwise or "device" in changed:  # each kind of device has random numbers of its own
        found.append("draws other random numbers")
    if tied or "precision" in changed or (shared and has_spectral_norm(engine.objective)):
        found.append("computes otherwise")
    return found


def _parts_of(then: Mapping[str, Any], engine: Engine) -> list[tuple[int, int]]:
    from ganvae_core.engine.sharing import parts

    return parts(engine.batch_size, then["processes"], then.get("rows_at_once"))


def _is_harmless(key: str, fitted_prior: bool) -> bool:
    group = key.partition(".")[0]
    return key in HARMLESS or group == "callbacks" or (group == "prior" and fitted_prior)


def _differences(key: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            below = f"{key}.{name}" if key else str(name)
            yield from _differences(below, before.get(name), after.get(name))
    elif before != after:
        yield key, before, after


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
