"""Real data, where a machine has it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data that the environment names."""
    folder = os.environ.get("GANVAE_DATA_DIR")
    if not folder:
        pytest.skip("GANVAE_DATA_DIR is not set: it names a folder with mnist/ and cifar10-jpg-test.tar.gz")
    return Path(folder)


@pytest.fixture
def is_mapped() -> Callable[[np.ndarray], bool]:
    """Whether an array, or what it is a view of, lies in a file."""

    def mapped(x: np.ndarray) -> bool:
        return isinstance(x, np.memmap) or (isinstance(x.base, np.ndarray) and mapped(x.base))

    return mapped
