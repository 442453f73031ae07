"""Weights of feature nets in the user's cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

import ganvae_core as gv


def kept(name: Path, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of a file of the cache; where it is not there they are made, and the file appears whole."""
    path = gv.cache_folder() / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        save_file({key: value.contiguous() for key, value in make().items()}, draft)
        draft.replace(path)
    return load_file(path)
