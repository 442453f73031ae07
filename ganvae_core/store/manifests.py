"""What lies in a folder of checkpoints, read without torch: which there are, what each says of itself, the best."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganvae_core.errors import RunError
from ganvae_core.store.files import read_bytes

MODEL_FILE = "model.safetensors"
STATE_FILE = "state.safetensors"
MANIFEST_FILE = "manifest.json"
CHECKSUM = "checksum"
LARGEST_MANIFEST_BYTES = 64 * 2**20
REPLACED = ".replaced"

_FOLDER = re.compile(r"step-([0-9]{1,18})")
_ASIDE = re.compile(rf"\.step-([0-9]{{1,18}}){re.escape(REPLACED)}")


def folder_name(step: int) -> str:
    """``step-002000``."""
    return f"step-{step:06d}"


def set_aside(folder: Path) -> Path:
    """Where a checkpoint lies while another one of its step takes its place."""
    return folder.with_name(f".{folder.name}{REPLACED}")


def checkpoint_folders(parent: Path) -> dict[int, Path]:
    """Folders of checkpoints under ``parent`` by step, oldest first, unchecked.

    A process that was killed while it replaced a step's checkpoint has left the one before set aside, which then
    stands in for it.
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
    """A manifest as it is stored: JSON with a SHA-256 of all the rest of it."""
    body = {key: value for key, value in manifest.items() if key != CHECKSUM}
    checksum = hashlib.sha256(_json(body).encode()).hexdigest()
    return _json({**body, CHECKSUM: checksum})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest alone, every byte of it as it was written, without checking the files that it names.

    Raises:
        RunError: it is missing, is no manifest, or was changed.
    """
    path = folder / MANIFEST_FILE
    try:
        content = read_bytes(path, LARGEST_MANIFEST_BYTES)
        manifest = json.loads(content)
        sums = manifest["sha256"]
        if not isinstance(sums, dict) or type(manifest["step"]) is not int or CHECKSUM not in manifest:
            raise TypeError("its entries are missing or have other types")
        if manifest_text(manifest).encode() != content:
            raise ValueError("it was changed: its checksum differs")
        if (match := _FOLDER.fullmatch(folder.name)) and int(match[1]) != manifest["step"]:
            raise ValueError(f"it is that of step {manifest['step']:,}")
        if sums.keys() != {MODEL_FILE, STATE_FILE}:
            raise ValueError(f"it names other files than {MODEL_FILE} and {STATE_FILE}")
    except FileNotFoundError:
        raise RunError(f"{path} is missing, so this checkpoint is not complete.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{path} is not what was written: {reason}.") from error
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
    """The step with the best held-out result by the run's first metric; None where nothing was measured."""
    rated: dict[int, float] = {}
    for step, manifest in manifests.items():
        results = manifest.get("results")
        value = results.get(manifest.get("judged_by")) if isinstance(results, dict) else None
        if isinstance(value, int | float) and math.isfinite(value):
            rated[step] = value if manifest.get("better") == "higher" else -value
    return max(rated, key=lambda step: rated[step]) if rated else None


def best_checkpoint(parent: Path) -> Path | None:
    """The checkpoint with the best held-out result, by the run's first metric; None where nothing was measured."""
    step = best_step(manifests_in(parent))
    return None if step is None else checkpoint_folders(parent).get(step)


def without_gaps(values: Any) -> Any:
    """JSON values with null in place of NaN and infinity, which JSON has no numbers for."""
    if isinstance(values, Mapping):
        return {str(key): without_gaps(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_gaps(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(without_gaps(values), indent=2, sort_keys=True) + "\n"
