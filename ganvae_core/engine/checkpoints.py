"""Checkpoints: safetensors and JSON, one folder each, which appears by one rename, complete or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ganvae_core.errors import RunError, TrainingError

MODEL_FILE = "model.safetensors"
STATE_FILE = "state.safetensors"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk, its files checked against their SHA-256."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Steps done when it was written."""
        return int(self.manifest["step"])

    def model(self) -> dict[str, Tensor]:
        """The averaged model's tensors, by name."""
        return _load(self.folder / MODEL_FILE)

    def state(self) -> dict[str, Tensor]:
        """All that training goes on from: the trained modules and the optimizers."""
        return _load(self.folder / STATE_FILE)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, each tensor once, under the first of its names."""
    persistent = module.state_dict(keep_vars=True).keys()
    tensors: dict[str, Tensor] = dict(module.named_parameters())
    tensors |= {name: buffer for name, buffer in module.named_buffers() if name in persistent}
    return {name: tensor.detach() for name, tensor in tensors.items()}


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Copy tensors that ``tensors_of`` named into a module of the same structure.

    Raises:
        RunError: names or shapes differ.
    """
    own = tensors_of(module)
    if own.keys() != tensors.keys():
        missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        raise RunError(
            f"{what} does not fit the configuration beside it.",
            f"missing: {', '.join(missing[:3])}" if missing else "",
            f"not expected: {', '.join(extra[:3])}" if extra else "",
        )
    for name, tensor in tensors.items():
        if own[name].shape != tensor.shape:
            raise RunError(
                f"{what} does not fit the configuration beside it.",
                f"{name} has shape {tuple(tensor.shape)} where {tuple(own[name].shape)} is expected",
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def folder_name(step: int) -> str:
    """``step-002000``."""
    return f"step-{step:06d}"


def write_checkpoint(
    parent: Path, model: Mapping[str, Tensor], state: Mapping[str, Tensor], manifest: Mapping[str, Any]
) -> Path:
    """Write a checkpoint for ``manifest["step"]`` under ``parent``, durably, and return its folder.

    Raises:
        TrainingError: the disk is full or not writable; what was there before is whole.
    """
    target = parent / folder_name(int(manifest["step"]))
    draft = parent / f".{target.name}.{os.getpid()}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        _save(model, draft / MODEL_FILE)
        _save(state, draft / STATE_FILE)
        sums = {name: _sha256(draft / name) for name in (MODEL_FILE, STATE_FILE)}
        text = json.dumps({**manifest, "sha256": sums}, indent=2, sort_keys=True)
        (draft / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
        for name in (MODEL_FILE, STATE_FILE):  # which safetensors writes for their owner alone
            shutil.copymode(draft / MANIFEST_FILE, draft / name)
        for name in (MODEL_FILE, STATE_FILE, MANIFEST_FILE):
            _to_disk(draft / name)
        if target.exists():
            replaced = parent / f".{target.name}.{os.getpid()}.replaced"
            target.rename(replaced)
            draft.rename(target)
            shutil.rmtree(replaced)
        else:
            draft.rename(target)
        _to_disk(parent)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"the checkpoint {target} could not be written: {error}",
            "checkpoints written before it are whole; free some space and go on with --resume",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def list_checkpoints(parent: Path) -> list[Path]:
    """Folders of checkpoints under ``parent``, oldest first, unchecked."""
    if not parent.is_dir():
        return []
    found = [path for path in parent.iterdir() if path.name.startswith("step-") and path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in a folder, after checking that every byte is as it was written.

    Raises:
        RunError: something is missing, cut short or changed; the message names the file.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest["sha256"].items():
        path = folder / Path(name).name
        if not path.is_file():
            raise RunError(f"{path} is missing.", "take another checkpoint:  --checkpoint STEP")
        if _sha256(path) != expected:
            raise RunError(
                f"{path} is not what was written (its SHA-256 differs: cut short or changed).",
                "take another checkpoint:  --checkpoint STEP",
            )
    return Checkpoint(folder, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest alone, without checking the files that it names.

    Raises:
        RunError: it is missing or is no manifest.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest["sha256"], dict) or not isinstance(manifest["step"], int):
            raise TypeError("its entries have other types")
    except FileNotFoundError:
        raise RunError(f"{path} is missing, so this checkpoint is not complete.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is not a checkpoint's manifest: {error}") from error
    return manifest


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    # Contiguous on the CPU, so a tensor in channels_last order is stored in the usual one; and each in memory of
    # its own, which safetensors asks for.
    plain: dict[str, Tensor] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous().cpu()
        shared = tensor.untyped_storage().data_ptr() in memory
        memory.add(tensor.untyped_storage().data_ptr())
        plain[name] = tensor.clone() if shared else tensor
    safetensors.torch.save_file(plain, path)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path} is not a safetensors file that can be read: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
