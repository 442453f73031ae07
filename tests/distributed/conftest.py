"""Two processes that train together; what they did is there for all tests, and was done once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import forked_ranks
from filelock import FileLock
from toys import rows
from warm import warm

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what ``together.py`` wrote, in two processes."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # which its workers share
    folder = base / "together"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            np.save(folder / "only-rank-0.npy", rows())
            command = [sys.executable, "-W", "error", str(HERE / "together.py"), str(folder)]
            code = f"import sys; from ganvae_core.cli.launcher import watch; sys.exit(watch({command}, 2))"
            done = warm("", code=code, before=forked_ranks, variables={**os.environ, "OMP_NUM_THREADS": "1"})
            (folder / "code").write_text(f"{done.code}\n{done.out}{done.err}")
    code, _, said = (folder / "code").read_text().partition("\n")
    assert code == "0", said
    return folder
