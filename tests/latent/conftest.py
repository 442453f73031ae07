"""Small runs that the tests of the latent space share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import train, write_table

TINY = ("generator.hidden=[4]", "latent.shape=[2]")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: VAEs of digits, of an array and of tables with and without a category, a GAN and a CGAN."""
    folder = tmp_path_factory.mktemp("runs")
    data = write_table(folder / "table.csv")
    np.save(folder / "array.npy", np.random.default_rng(0).normal([170.0, 7e4, 5], [10, 5e3, 0], (40, 3)))
    for name, *words in (
        ("vae",),
        ("array", "--data", folder / "array.npy"),
        ("table", "--data", data, "data.columns=[height,weight,legs]"),
        ("mixed", "--data", data),
    ):
        train(folder / name, "--plugin", "vae", "encoder.hidden=[4]", *TINY, *words)
    for name in ("gan", "cgan"):
        train(folder / name, "--plugin", name, "critic.hidden=[4]", *TINY)
    return folder
