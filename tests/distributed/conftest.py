"""Two processes that train together; what they did is there for all tests, and was done once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from toys import rows

from ganvae_core.cli.launcher import watch

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
            paths = os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PYTHONPATH", paths)
                patch.setenv("OMP_NUM_THREADS", "1")
                code = watch([sys.executable, "-W", "error", str(HERE / "together.py"), str(folder)], 2)
            (folder / "code").write_text(str(code))
    assert (folder / "code").read_text() == "0"
    return folder
