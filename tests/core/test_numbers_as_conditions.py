"""Conditions that are numbers: how data has them, and how a person asks for one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import ganvae_core as gv
from ganvae_core.builtin.sources.arrays import as_source


def test_labels_that_are_no_whole_numbers_name_the_way_to_a_condition(tmp_path: Path) -> None:
    with pytest.raises(gv.DataError, match=r"data\.condition=\[COLUMN\]"):
        as_source(np.zeros((3, 2)), labels=np.array([0.5, 1, 2]))
    x, numbers = np.zeros((3, 2), np.float32), np.array([0.5, 1, 2])
    source = gv.StoredSource(x, gv.DataSpec(x.shape[1:], condition=(1,)), labels=numbers[:, None])
    run = gv.train("vae", data=source, steps=1, out=tmp_path / "run", overrides={"data.condition": True})
    assert run.sample(2, condition=run.condition("0.5", 2)).shape == (2, 2)


@pytest.mark.parametrize(("text", "beyond"), [("age=30", False), ("age=300", True)])
def test_a_condition_beyond_training_rows_is_said(tmp_path: Path, text: str, beyond: bool) -> None:
    path = tmp_path / "people.csv"
    path.write_text("size,age\n" + "".join(f"{150 + n % 40},{20 + n % 50}\n" for n in range(100)))
    run = gv.train(
        "vae", data=str(path), steps=1, out=tmp_path / "run", overrides={"data.condition": ["age"]}
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.condition(text, 2)
    assert any("beyond training rows, which have 20 to 69" in str(each.message) for each in caught) is beyond
