"""Checkpoints: safetensors and JSON, one folder each, which appears by one rename, complete or not at all."""

from __future__ import annotations

import hashlib
import os
import shlex
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
from ganvae_core.store.directory import CONFIG
from ganvae_core.store.files import tidying
from ganvae_core.store.manifests import (
    MANIFEST_FILE,
    MODEL_FILE,
    REPLACED,
    STATE_FILE,
    checkpoint_folders,
    folder_name,
    manifest_text,
    read_manifest,
    set_aside,
)

DRAFT, RUBBISH = ".draft", ".rubbish"
"""What hidden folders of a step end in while they are written, or removed."""


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


def write_checkpoint(
    parent: Path, model: Mapping[str, Tensor], state: Mapping[str, Tensor], manifest: Mapping[str, Any]
) -> Path:
    """Write a checkpoint for ``manifest["step"]`` under ``parent``, durably, and return its folder.

    Whatever ends the process meanwhile, there is a whole checkpoint of this step afterwards, or none if there was
    none before. Only one process may write at a time: ``ganvae_core.store.ownership`` sees to that.

    Raises:
        TrainingError: the disk is full or not writable; what was there before is whole.
    """
    target = parent / folder_name(int(manifest["step"]))
    draft = parent / f".{target.name}{DRAFT}"
    try:
        if not parent.is_dir():
            parent.mkdir(parents=True)
            _to_disk(parent.parent)
        _remove(draft)
        draft.mkdir()
        _write_files(draft, model, state, manifest)
        _put_in_place(draft, target)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"the checkpoint {target} could not be written: {reason}.", *_hints(parent)
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def remove_checkpoint(folder: Path) -> None:
    """Take a checkpoint away, such that it is never seen half removed.

    Raises:
        OSError: it, or something of it under a hidden name, stays.
    """
    rubbish = folder.with_name(f".{folder.name.removeprefix('.')}{RUBBISH}")
    _remove(rubbish)
    folder.rename(rubbish)
    _remove(rubbish)


def mend_checkpoints(parent: Path) -> None:
    """Bring a folder of checkpoints into order after a process was killed that wrote there.

    What was set aside to be replaced goes back where its successor has not arrived; drafts and rubbish go. What cannot
    be moved is warned of and stays: no reader takes it for more than it is.
    """
    if not parent.is_dir():
        return
    for path in list(parent.glob(".step-*")):
        name = path.name.removeprefix(".")
        with tidying(path):
            if name.endswith(REPLACED) and not (target := parent / name.removesuffix(REPLACED)).exists():
                path.rename(target)
            elif name.endswith((REPLACED, DRAFT, RUBBISH)):
                _remove(path)


def _write_files(
    folder: Path, model: Mapping[str, Tensor], state: Mapping[str, Tensor], manifest: Mapping[str, Any]
) -> None:
    _save(model, folder / MODEL_FILE)
    _save(state, folder / STATE_FILE)
    sums = {name: _sha256(folder / name) for name in (MODEL_FILE, STATE_FILE)}
    (folder / MANIFEST_FILE).write_text(manifest_text({**manifest, "sha256": sums}), encoding="utf-8")
    for name in (MODEL_FILE, STATE_FILE):  # which safetensors writes for their owner alone
        shutil.copymode(folder / MANIFEST_FILE, folder / name)
    for name in (MODEL_FILE, STATE_FILE, MANIFEST_FILE):
        _to_disk(folder / name)
    _to_disk(folder)


def _put_in_place(draft: Path, target: Path) -> None:
    """Rename a draft to its place. No system renames a folder over another one, so that one is set aside first."""
    aside = set_aside(target)
    if target.exists():
        _remove(aside)
        target.rename(aside)
    try:
        draft.rename(target)
    except BaseException:
        if aside.exists():
            aside.rename(target)
        raise
    _to_disk(target.parent)
    with tidying(aside):
        _remove(aside)


def _hints(parent: Path) -> tuple[str, ...]:
    if checkpoint_folders(parent):
        return ("checkpoints written before it are whole: make room for it, then go on with --resume",)
    return ("it would have been the first, so nothing is saved yet: make room for it and start again",)


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def list_checkpoints(parent: Path) -> list[Path]:
    """Folders of checkpoints under ``parent``, oldest first, unchecked."""
    return list(checkpoint_folders(parent).values())


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in a folder, after checking that every byte is as it was written.

    Raises:
        RunError: something is missing, cut short or changed; the message names the file.
    """
    manifest = read_manifest(folder)
    for name in (MODEL_FILE, STATE_FILE):
        path = folder / name
        if not path.is_file():
            raise RunError(f"{path} is missing.", _instead(folder))
        if _sha256(path) != manifest["sha256"][name]:
            raise RunError(
                f"{path} is not what was written (its SHA-256 differs: cut short or changed).",
                _instead(folder),
            )
    return Checkpoint(folder, manifest)


def _instead(damaged: Path) -> str:
    """What can be done without a checkpoint: another one of its run, or the run again."""
    others = [str(step) for step, folder in checkpoint_folders(damaged.parent).items() if folder != damaged]
    if others:
        return f"others are there, of the steps {', '.join(others)}; sample takes one:  --checkpoint STEP"
    again = shlex.join(["ganvae", "run", "--config", str(damaged.parent.parent / CONFIG)])
    return f"the run has no other; train it anew:  {again}"


def newest_whole(parent: Path) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """The newest checkpoint that is whole, and a sentence for each newer one that is not."""
    damage: list[str] = []
    for folder in reversed(list_checkpoints(parent)):
        try:
            return read_checkpoint(folder), tuple(damage)
        except RunError as error:
            damage.append(f"passed over: {error.message}")
    return None, tuple(damage)


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
