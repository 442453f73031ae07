"""Weights of feature nets in the user's cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import ganvae_core as gv


def kept(name: Path, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of a file of the cache, which are made, and kept there, where it is missing or damaged."""
    path = gv.cache_folder() / name
    with suppress(OSError, SafetensorError):
        return load_file(path)
    made = {key: value.contiguous() for key, value in make().items()}
    with suppress(OSError):  # without a cache they are made each time
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        save_file(made, draft)
        draft.replace(path)
    return made
