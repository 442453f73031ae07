"""What a folder of checkpoints holds, read without torch: its manifests, and which checkpoint is the best."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganvae_core.errors import RunError
from ganvae_core.types import Figure

MODEL_FILE = "model.safetensors"
STATE_FILE = "state.safetensors"
MANIFEST_FILE = "manifest.json"
REPLACED = ".replaced"

TOLERANCE = 0.05
"""Share of the best held-out result by which others may be worse."""
_FOLDER = re.compile(r"step-([0-9]{1,18})")
_ASIDE = re.compile(rf"\.step-([0-9]{{1,18}}){re.escape(REPLACED)}")


def folder_name(step: int) -> str:
    """``step-002000``."""
    return f"step-{step:06d}"


def set_aside(folder: Path) -> Path:
    """Where a checkpoint lies while another one of its step replaces it."""
    return folder.with_name(f".{folder.name}{REPLACED}")


def checkpoint_folders(parent: Path) -> dict[int, Path]:
    """Folders of checkpoints under ``parent`` by step, oldest first, unchecked.

    Where a process was killed while it replaced a checkpoint, the one that was set aside is used.
    """
    if not parent.is_dir():
        return {}
    aside: dict[int, Path] = {}
    found: dict[int, Path] = {}
    for path in parent.iterdir():
        if match := _FOLDER.fullmatch(path.name):
            found[int(match[1])] = path
        elif match := _ASIDE.fullmatch(path.name):
            aside[int(match[1])] = path
    return dict(sorted({**aside, **found}.items()))


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it is stored."""
    return json.dumps(without_gaps(manifest), indent=2) + "\n"


def read_manifest(folder: Path) -> dict[str, Any]:
    """A checkpoint's manifest, without checking the files that it names.

    Raises:
        RunError: it is missing, or not a manifest of this step.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_text("utf-8"))
        step, sums = manifest["step"], manifest["sha256"]
        if type(step) is not int:
            raise TypeError("its step is not a whole number")
        if sums.keys() != {MODEL_FILE, STATE_FILE}:
            raise ValueError("it names other files than those of a checkpoint")
        if (match := _FOLDER.fullmatch(folder.name)) and int(match[1]) != step:
            raise ValueError(f"it is that of step {step:,}")
    except FileNotFoundError:
        raise RunError(f"{path} is missing, so this checkpoint is not complete.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{path} is damaged: {reason}.") from error
    return manifest


def manifests_in(checkpoints: Path) -> dict[int, dict[str, Any]]:
    """The manifests of a folder of checkpoints by step, oldest first; empty where one is missing or damaged."""
    manifests: dict[int, dict[str, Any]] = {}
    for step, folder in checkpoint_folders(checkpoints).items():
        manifests[step] = {}
        with contextlib.suppress(RunError):
            manifests[step] = read_manifest(folder)
    return manifests


def best_step(manifests: Mapping[int, Mapping[str, Any]]) -> int | None:
    """The step with the best held-out result by the run's first metric; None where nothing was measured.

    It is judged within the last stage that was begun, and among models whose prior is fitted where one is: those before
    cannot be sampled.
    """
    rated: dict[int, float] = {}
    last = max((_progress(manifest) for manifest in manifests.values()), default=(0, False))
    for step, manifest in manifests.items():
        if _progress(manifest) != last:
            continue
        value = judged_value(manifest)
        if math.isfinite(value):
            rated[step] = value if manifest.get("better") == "higher" else -value
    return max(rated, key=lambda step: rated[step]) if rated else None


def _progress(manifest: Mapping[str, Any]) -> tuple[int, bool]:
    """The stage of a checkpoint, and whether its prior was fitted in closed form."""
    stage = manifest.get("stage")
    return stage if isinstance(stage, int) else 0, manifest.get("fitted_step") == manifest.get("step", 0)


def judged_value(manifest: Mapping[str, Any]) -> float:
    """The held-out result that a checkpoint is judged by; NaN where it was not measured."""
    value = manifest.get("judged")
    if isinstance(value, int | float):
        return float(value)
    return numbers(manifest.get("results")).get(str(manifest.get("judged_by")), math.nan)


def is_better(value: float, best: float, better: str) -> bool:
    """Whether a held-out result is better than another one."""
    return value > best if better == "higher" else value < best


def much_worse(value: float, best: float, better: str) -> bool:
    """Whether a held-out result is worse than the best one by more than ``TOLERANCE`` of it, or no number."""
    behind = best - value if better == "higher" else value - best
    return not behind <= TOLERANCE * abs(best)


def preferred(manifests: Mapping[int, dict[str, Any]]) -> tuple[int, Figure, float, float] | None:
    """The best checkpoint where the newest that was measured is much worse: its step, and the two results.

    Returns:
        The best step, what was measured, its value there, and its value at the newest checkpoint; None where the newest
        one is about as good.
    """
    best = best_step(manifests)
    newest = next(
        (each for each in reversed(list(manifests.values())) if math.isfinite(judged_value(each))), None
    )
    if best is None or newest is None:
        return None
    then, now, name = judged_value(manifests[best]), judged_value(newest), str(newest.get("judged_by"))
    if not much_worse(now, then, str(newest.get("better"))):
        return None
    figure = next(
        (each for each in read_figures(newest.get("figures")) if each.name == name), Figure(name, name)
    )
    return best, figure, then, now


def numbers(value: Any) -> dict[str, float]:
    """The entries of a mapping that are numbers, null as NaN; empty where it is not a mapping."""
    if not isinstance(value, dict):
        return {}
    values = {name: math.nan if item is None else item for name, item in value.items()}
    return {name: item for name, item in values.items() if isinstance(item, int | float)}


def texts(value: Any) -> dict[str, str]:
    """The entries of a mapping that are texts; empty where it is not a mapping."""
    if not isinstance(value, dict):
        return {}
    return {str(name): item for name, item in value.items() if isinstance(item, str)}


def read_figures(value: Any) -> list[Figure]:
    """The figures that a manifest holds, in their order; what is no figure is left out."""
    figures: list[Figure] = []
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict):
            name, label, unit = (str(entry.get(key, "")) for key in ("name", "label", "unit"))
            figures.append(Figure(name, label, unit, "lower" if entry.get("better") == "lower" else "higher"))
    return figures


def without_gaps(values: Any) -> Any:
    """JSON values with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(values, Mapping):
        return {str(key): without_gaps(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_gaps(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
