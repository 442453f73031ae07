"""``interpolate``, ``traverse``, ``neighbours`` and ``map`` on small runs, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from command_line import Say, size_of, train
from ganvae_compare import pictures
from ganvae_latent.showing import endings
from PIL import Image

import ganvae_core as gv
from ganvae_core.views.points import PointsView
from ganvae_core.views.table import TableView


def picture(path: Path, side: int = 8) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_paths_are_a_picture_a_film_and_a_table(runs: Path, tmp_path: Path, say: Say) -> None:
    outcome = say("interpolate", runs / "vae", "-n", "3", "--steps", "5", "-o", tmp_path / "paths.png")
    assert outcome.code == 0, outcome.err
    assert size_of(tmp_path / "paths.png") == (5 * 58 - 2, 3 * 58 - 2)
    given = [picture(tmp_path / f"{name}.png") for name in "ab"]
    outcome = say("interpolate", runs / "gan", *given, "--steps", "4", "-o", tmp_path / "film.gif")
    assert outcome.code == 0
    assert "1 path of 4 codes by" in outcome.err
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (56, 56)  # one picture at a time
    assert say("interpolate", runs / "table", "--rows", "0,5,9", "-o", tmp_path / "made.csv").code == 0
    made = pyarrow.csv.read_csv(tmp_path / "made.csv")
    assert made.column_names == ["height", "weight", "legs", "path", "share"]
    assert made.num_rows == 20


def test_dimensions_neighbours_and_maps(runs: Path, tmp_path: Path, say: Say) -> None:
    outcome = say("traverse", runs / "vae", "--steps", "6", "-o", tmp_path / "lines.png")
    assert outcome.code == 0, outcome.err
    assert size_of(tmp_path / "lines.png") == (6 * 58 - 2, 2 * 58 - 2)
    assert "KL, nats" in outcome.out
    assert "change of x" in say("traverse", runs / "gan", "--steps", "3").out
    for space, run in (("data", "gan"), ("critic", "gan"), ("codes", "vae"), ("judge", "gan")):
        output = tmp_path / f"{space}.png"
        asked = ("neighbours", runs / run, "-n", "2", "-k", "3", "--space", space, "-o", output)
        assert say(*asked).code == 0
        assert size_of(output) == (4 * 58 - 2, 2 * 58 - 2)
    assert say("map", runs / "vae", "-n", "40", "--thumbnails", "5", "-o", tmp_path / "map.png").code == 0
    assert say("map", runs / "vae", "--grid", "3", "-o", tmp_path / "grid.png").code == 0
    assert size_of(tmp_path / "grid.png") == (172, 172)
    assert say("map", runs / "vae", "-n", "40", "-o", tmp_path / "map.parquet").code == 0
    written = pyarrow.parquet.read_table(tmp_path / "map.parquet")
    assert written.column_names == ["x", "y", "row", "label", "image"]
    assert written["image"][0].as_py().startswith(b"\x89PNG")


def test_the_nearest_row_of_a_training_row_is_itself(runs: Path, tmp_path: Path, say: Say) -> None:
    output = tmp_path / "near.csv"
    assert say("neighbours", runs / "table", "--rows", "0,1,2,3", "-k", "1", "-o", output).code == 0
    written = pyarrow.csv.read_csv(output).to_pydict()
    distances = np.array(written["distance"]).reshape(-1, 2)[:, 1]
    numbers = np.array(written["row"]).reshape(-1, 2)[:, 1]
    found = numbers == np.arange(4)
    assert found.sum() >= 3  # at most one of the four rows is held out
    assert (distances[found] == 0).all()


def test_columns_that_are_the_condition_are_asked_for_and_written(
    runs: Path, tmp_path: Path, say: Say
) -> None:
    run, output, hidden = (
        tmp_path / "run",
        tmp_path / "made.csv",
        ("generator.hidden=[4]", "encoder.hidden=[4]"),
    )
    train(run, "--plugin", "vae", "--data", runs / "table.csv", "data.condition=[size,weight]", *hidden)
    both = ("--condition", "size=small", "--condition", "weight=70000")
    assert say("directions", run, "-n", "1", *both, "-o", tmp_path / "directions.csv").code == 0
    for words in (
        ("interpolate", run, "-n", "2", "--steps", "3", *both),
        ("traverse", run, "-n", "1", "--steps", "3", *both),
        ("edit", run, "--direction", "pca-1=1", "-n", "2", *both),
        ("reconstruct", run, "-n", "2"),
        ("neighbours", run, "-n", "2", "-k", "1"),
    ):
        outcome = say(*words, "-o", output)
        assert outcome.code == 0, outcome.err
        made = pyarrow.csv.read_csv(output).to_pydict()
        assert list(made)[:4] == ["height", "weight", "legs", "size"]
        if "--condition" in words:
            assert (set(made["size"]), set(made["weight"])) == ({"small"}, {70000})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("interpolate", "table", "-o", "paths.png"), "not written to '.png'"),
        (("map", "gan"), "no encoder"),
        (("neighbours", "gan", "--space", "codes"), "no encoder"),
        (("neighbours", "vae", "--space", "critic"), "no critic"),
        (("neighbours", "table", "--space", "judge"), "the judge needs labels"),
        (("interpolate", "vae", "--rows", "0,x"), "not a list of row numbers"),
        (("interpolate", "vae", "--rows", "0,99999"), "no row 99,999"),
        (("interpolate", "vae", "--rows", "3"), "two rows at least"),
        (("interpolate", "table", "-o", "film.gif"), "not written to '.gif'"),
        (("interpolate", "vae", "--path", "prior"), "neither a sphere nor a flow"),
        (("traverse", "gan", "--by", "kl"), "cannot be ranked by KL"),
        (("map", "table", "--thumbnails", "3"), "thumbnails are of images"),
        (("map", "vae", "--by", "umap"), "umap-learn"),
    ],
)
def test_what_cannot_be_done_is_refused(
    words: tuple[str, ...],
    message: str,
    runs: Path,
    tmp_path: Path,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    verb, run, *more = words
    outcome = say(verb, runs / run, *more)
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert message in outcome.err


def test_a_picture_of_another_size_is_scaled_on_demand_only(runs: Path, tmp_path: Path, say: Say) -> None:
    files = [picture(tmp_path / "a.png", 16), picture(tmp_path / "b.png", 20)]
    output = tmp_path / "out.png"
    refused = say("interpolate", runs / "vae", *files, "-o", output)
    assert (refused.code, output.exists()) == (2, False)
    assert "(1, 16, 16)" in refused.err
    assert "--resize" in refused.err
    assert say("interpolate", runs / "vae", *files, "--resize", "-o", output).code == 0
    (tmp_path / "torn.png").write_bytes(files[0].read_bytes()[:90])
    (tmp_path / "words.txt").write_text("hello")
    assert (
        "words.txt is not a picture" in say("interpolate", runs / "vae", tmp_path / "words.txt", files[1]).err
    )
    assert "truncated" in say("interpolate", runs / "vae", tmp_path / "torn.png", files[1]).err


def test_by_default_there_are_no_more_directions_than_numbers_of_a_code(
    runs: Path, tmp_path: Path, say: Say
) -> None:
    for by in ("pca", "sefa"):
        outcome = say("directions", runs / "array", "--by", by, "--name", "few", "-o", tmp_path / f"{by}.csv")
        assert outcome.code == 0, outcome.err
        assert "few-2" in outcome.out
        assert "few-3" not in outcome.out


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1,nan", "not finite"),
        ("1", "2 numbers, and 1"),
        ("no.json", "no file 'no.json'"),
        ("cut.json", "cut.json cannot be read as json"),
        ("other.json", "no list of numbers called 'code'"),
    ],
)
def test_a_code_that_is_none_is_named(
    code: str, said: str, runs: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.json").write_text('{"code": [1, ')
    Path("other.json").write_text('{"codes": [1, 2]}')
    outcome = say("edit", runs / "array", f"--code={code}", "-o", tmp_path / "made.npy")
    assert outcome.code == 2
    assert said in outcome.err


class Globe(gv.View):
    """A plugin's own view of rows that lie together in one picture."""

    endings = (".png",)


@pytest.mark.parametrize(
    ("view", "drawn"),
    [(Globe(), True), (PointsView(), True), (TableView(), False)],
    ids=["own", "points", "table"],
)
def test_rows_are_drawn_where_pictures_are_the_usual_files(view: gv.View, drawn: bool) -> None:
    run = cast("gv.Run", SimpleNamespace(view=view, spec=gv.DataSpec((2,), modality=type(view).__name__)))
    assert (".png" in endings(run)) is drawn
    assert pictures.is_plane(run) is drawn
    assert pictures.is_table(run) is not drawn
