"""Checkpoints: safetensors and JSON, one folder each, which appears by one rename, complete or not at all."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ganvae_core.errors import RunError, TrainingError
from ganvae_core.store.files import remove, tidying
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

CONFIG = "config.yaml"
DRAFT, REMOVED = ".draft", ".rubbish"
"""What hidden folders of a step end in while they are written, or removed."""


BOTH = (MODEL_FILE, STATE_FILE)


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint is written from. What is written must be copied before: safetensors wants plain tensors.

    Args:
        model: tensors of the averaged model, by name.
        state: tensors of everything else that training goes on from.
        manifest: JSON values; ``step`` is one of them.
    """

    model: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    manifest: Mapping[str, Any]

    def copied(self) -> Snapshot:
        """The same with copies of the tensors on the CPU, so that training may go on."""
        return Snapshot(_copied(self.model), _copied(self.state), self.manifest)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk. A file is checked against its SHA-256 before it is read."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Steps done when it was written."""
        return int(self.manifest["step"])

    @property
    def stage(self) -> int:
        """Number of the stage that it was written in, from 0."""
        return int(self.manifest.get("stage", 0))

    @property
    def stage_step(self) -> int:
        """Steps done in that stage."""
        return int(self.manifest.get("stage_step", self.step))

    @property
    def ended(self) -> bool:
        """Whether the stage had come to its end; a fit of the prior in closed form may be left."""
        return bool(self.manifest.get("ended"))

    @property
    def complete(self) -> bool:
        """Whether nothing of the stage was left to do."""
        return bool(self.manifest.get("complete"))

    def model(self) -> dict[str, Tensor]:
        """The averaged model's tensors, by name.

        Raises:
            RunError: the file is missing or was changed.
        """
        return self._load(MODEL_FILE)

    def state(self) -> dict[str, Tensor]:
        """All that training goes on from: the trained modules and the optimizers.

        Raises:
            RunError: the file is missing or was changed.
        """
        return self._load(STATE_FILE)

    def check(self, name: str) -> Path:
        """The path of one of its files, whose bytes are those that were written.

        Raises:
            RunError: it is missing or was changed.
        """
        path = self.folder / name
        if not path.is_file():
            raise RunError(f"{path} is missing.", _instead(self.folder))
        if _sha256(path) != self.manifest["sha256"][name]:
            raise RunError(
                f"{path} is damaged: its SHA-256 differs, so it was cut short or changed.",
                _instead(self.folder),
            )
        return path

    def _load(self, name: str) -> dict[str, Tensor]:
        path = self.check(name)
        try:
            return safetensors.torch.load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(f"{path} is not a safetensors file that can be read: {error}") from error


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, each tensor once, under the first of its names."""
    persistent = module.state_dict(keep_vars=True).keys()
    tensors: dict[str, Tensor] = dict(module.named_parameters())
    tensors |= {name: buffer for name, buffer in module.named_buffers() if name in persistent}
    return {name: tensor.detach() for name, tensor in tensors.items()}


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], what: str, skip: str = "") -> None:
    """Copy tensors that ``tensors_of`` named into a module of the same structure.

    Args:
        module: that they are copied into.
        tensors: by name.
        what: they are, in messages.
        skip: prefix of names that are left as they are; none by default.

    Raises:
        RunError: names or shapes differ.
    """

    def chosen(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in named.items() if not skip or not name.startswith(skip)}

    own, tensors = chosen(tensors_of(module)), chosen(tensors)
    if own.keys() != tensors.keys():
        missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        raise RunError(
            f"{what} does not fit the configuration beside it.",
            f"missing: {', '.join(missing[:3])}" if missing else "",
            f"not expected: {', '.join(extra[:3])}" if extra else "",
        )
    unfit = [
        f"{name} has shape {tuple(tensor.shape)} where {tuple(own[name].shape)} is expected"
        for name, tensor in tensors.items()
        if own[name].shape != tensor.shape
    ]
    if unfit:
        raise RunError(f"{what} does not fit the configuration beside it.", *unfit[:3])
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def write_checkpoint(parent: Path, snapshot: Snapshot) -> Path:
    """Write a checkpoint under ``parent``, durably, and return its folder.

    Whenever the process ends, there is a whole checkpoint of this step afterwards, or none if there was none before.
    Only one process may write at a time: see ``ganvae_core.store.ownership``.

    Raises:
        TrainingError: the disk is full or not writable; what was there before is whole.
    """
    target = parent / folder_name(int(snapshot.manifest["step"]))
    draft = parent / f".{target.name}{DRAFT}"
    try:
        if not parent.is_dir():
            parent.mkdir(parents=True)
            _to_disk(parent.parent)
        remove(draft)
        draft.mkdir()
        _write_files(draft, snapshot)
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
    removed = folder.with_name(f".{folder.name.removeprefix('.')}{REMOVED}")
    remove(removed)
    folder.rename(removed)
    remove(removed)


def mend_checkpoints(parent: Path) -> None:
    """Bring a folder of checkpoints into order after a process was killed that wrote there.

    What was set aside to be replaced goes back where its successor has not arrived; drafts and half-removed checkpoints
    go. What cannot be moved is warned of and stays, and readers pass over it.
    """
    if not parent.is_dir():
        return
    for path in list(parent.glob(".step-*")):
        name = path.name.removeprefix(".")
        with tidying(path):
            if name.endswith(REPLACED) and not (target := parent / name.removesuffix(REPLACED)).exists():
                path.rename(target)
            elif name.endswith((REPLACED, DRAFT, REMOVED)):
                remove(path)


def _write_files(folder: Path, snapshot: Snapshot) -> None:
    safetensors.torch.save_file(dict(snapshot.model), folder / MODEL_FILE)
    safetensors.torch.save_file(dict(snapshot.state), folder / STATE_FILE)
    sums = {name: _sha256(folder / name) for name in BOTH}
    manifest = {**snapshot.manifest, "sha256": sums}
    (folder / MANIFEST_FILE).write_text(manifest_text(manifest), encoding="utf-8")
    for name in BOTH:  # safetensors makes them readable for their owner alone
        shutil.copymode(folder / MANIFEST_FILE, folder / name)
    for name in (*BOTH, MANIFEST_FILE):
        _to_disk(folder / name)
    _to_disk(folder)


def _put_in_place(draft: Path, target: Path) -> None:
    """Rename a draft to its place. No system renames a folder over another one, so that one is set aside first."""
    aside = set_aside(target)
    if target.exists():
        remove(aside)
        target.rename(aside)
    try:
        draft.rename(target)
    except BaseException:
        if aside.exists():
            aside.rename(target)
        raise
    _to_disk(target.parent)
    with tidying(aside):
        remove(aside)


def _hints(parent: Path) -> tuple[str, ...]:
    if checkpoint_folders(parent):
        return ("checkpoints written before it are whole: make room for it, then go on with --resume",)
    return ("it would have been the first, so nothing is saved yet: make room for it and start again",)


def read_checkpoint(folder: Path, names: Sequence[str] = BOTH) -> Checkpoint:
    """The checkpoint in a folder, after checking every byte of these of its files.

    Raises:
        RunError: something is missing, cut short or changed; the message names the file.
    """
    checkpoint = Checkpoint(folder, read_manifest(folder))
    for name in names:
        checkpoint.check(name)
    return checkpoint


def newest_whole(parent: Path, names: Sequence[str] = BOTH) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """The newest checkpoint whose files are whole, and a sentence for each newer one that is not.

    Args:
        parent: folder of checkpoints.
        names: the files that are needed; the others are not read.
    """
    damage: list[str] = []
    for folder in reversed(checkpoint_folders(parent).values()):
        try:
            return read_checkpoint(folder, names), tuple(damage)
        except RunError as error:
            damage.append(f"passed over: {error.message}")
    return None, tuple(damage)


def _instead(damaged: Path) -> str:
    """What can be done without a checkpoint: another one of its run, or the run again."""
    others = [str(step) for step, folder in checkpoint_folders(damaged.parent).items() if folder != damaged]
    if others:
        return f"others are there, of the steps {', '.join(others)}; sample takes one:  --checkpoint STEP"
    again = shlex.join(["ganvae", "run", "--config", str(damaged.parent.parent / CONFIG)])
    return f"the run has no other; train it anew:  {again}"


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, in memory of their own and in the usual order of dimensions."""
    return {
        name: torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor) for name, tensor in tensors.items()
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
