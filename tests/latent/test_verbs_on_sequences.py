"""Verbs on texts, series and sounds: what they hide, write and say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import torch
from command_line import Say, size_of, train

SERIES = (
    "generator.filters=2",
    "generator.stages=1",
    "encoder.filters=2",
    "encoder.stages=1",
    "latent.shape=[2]",
)
SHORT = ("complete", "-n", "2", "--draws", "2", "--steps", "4")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on lines, one on hours of two columns, and one on notes."""
    folder = tmp_path_factory.mktemp("runs")
    lines = [
        f"the {kind} is {place} sea"
        for kind in ("ship", "wind", "moon")
        for place in ("at", "on", "by", "in")
    ]
    (folder / "lines.txt").write_text("\n".join(lines * 3), encoding="utf-8")
    train(folder / "text", "--plugin", "text-vae", "--data", folder / "lines.txt", "data.length=24",
          "latent.shape=[2]", "generator.hidden=[4]", "encoder.filters=2", "observation.width=8")  # fmt: skip
    hours = [f"2024-01-{1 + at // 24:02d} {at % 24:02d}:00:00,{np.sin(at):.3f},{at % 5}" for at in range(600)]
    (folder / "hours.csv").write_text("\n".join(["when,north,south", *hours]) + "\n")
    train(
        folder / "series", "--plugin", "series-vae", "--data", folder / "hours.csv", "data.window=8", *SERIES
    )
    train(folder / "sounds", "--plugin", "audio-vae", "latent.shape=[2]", "generator.filters=2",
          "encoder.filters=2")  # fmt: skip
    return folder


def table(path: Path) -> dict[str, list[object]]:
    return pyarrow.csv.read_csv(path).to_pydict()


def test_a_span_of_a_text_is_filled_in_between_what_is_visible(runs: Path, tmp_path: Path, say: Say) -> None:
    asked = ("--mask", "span:4,3", "--draws", "3")
    outcome = say(*SHORT, *asked, runs / "text", "-o", tmp_path / "filled.csv")
    assert outcome.code == 0, outcome.err
    assert "share of hidden entries that differ" in outcome.out
    made = table(tmp_path / "filled.csv")
    assert made["version"] == ["row", "visible", "1", "2", "3"] * 2
    row, visible, *filled = (str(text) for text in made["text"][:5])
    assert visible == f"{row[:4]}___{row[7:]}"
    assert all((text[:4], text[7:]) == (row[:4], row[7:]) for text in filled)
    assert say(*SHORT, *asked, runs / "text", "-o", tmp_path / "filled.png").code == 0


def test_a_span_or_a_column_of_a_series_is_filled_in(runs: Path, tmp_path: Path, say: Say) -> None:
    for mask, hidden in (("span:2,3", {2, 3, 4}), ("columns:north", set(range(8)))):
        outcome = say(*SHORT, "--mask", mask, runs / "series", "-o", tmp_path / "filled.csv")
        assert outcome.code == 0, outcome.err
        made = table(tmp_path / "filled.csv")
        visible, whole = (
            [value for value, row, what in zip(made["north"], made["row"], made["version"], strict=True)
             if row == made["row"][0] and what == wanted]
            for wanted in ("visible", "mean")
        )  # fmt: skip
        assert {value for value in visible if value is not None} <= set(table(runs / "hours.csv")["north"])
        assert {at for at, value in enumerate(visible) if value is None} == hidden
        assert None not in whole


def test_a_span_of_a_sound_is_in_seconds(runs: Path, tmp_path: Path, say: Say) -> None:
    made = say(*SHORT, "--mask", "span:0.1,0.05", runs / "sounds", "-o", tmp_path / "filled.npz")
    assert made.code == 0, made.err
    with np.load(tmp_path / "filled.npz") as arrays:
        row, visible = arrays["completions"][:2]
    seconds = np.linspace(0, 0.256, row.shape[1], endpoint=False)
    silent = (visible == 0).all(0)
    assert silent[(seconds > 0.11) & (seconds < 0.14)].all()
    assert np.array_equal(row[:, seconds > 0.16], visible[:, seconds > 0.16])


@pytest.mark.parametrize(
    ("run", "mask", "message"),
    [
        ("text", "span:20,9", "not within 24: up to 24 characters"),
        ("series", "span:0,8", "all of a row is hidden"),
        ("series", "span:4", "a start and a length"),
        ("series", "columns:noth", "Did you mean 'north'?"),
        ("sounds", "span:0.2,0.1", "not within 0.256"),
    ],
)
def test_wrong_spans_are_refused(
    run: str, mask: str, message: str, runs: Path, tmp_path: Path, say: Say
) -> None:
    outcome = say("complete", runs / run, "--mask", mask, "-o", tmp_path / "out.npz")
    assert outcome.code == 2
    assert message in outcome.err


def test_a_table_is_no_text_of_a_run(runs: Path, tmp_path: Path, say: Say) -> None:
    outcome = say("interpolate", runs / "text", runs / "hours.csv", "-o", tmp_path / "paths.txt")
    assert outcome.code == 2
    assert "this data does not fit the run" in outcome.err


def test_neighbours_of_texts_differ_in_so_many_characters(runs: Path, tmp_path: Path, say: Say) -> None:
    given = tmp_path / "given.txt"
    given.write_text("the ship is at see\n")
    outcome = say("neighbours", runs / "text", given, "-k", "4", "-o", tmp_path / "near.csv")
    assert outcome.code == 0, outcome.err
    made = table(tmp_path / "near.csv")
    assert made["sample_number"] == [0] * 5
    assert made["row"][0] is None  # the given text is no training row
    near = [str(text) for text in made["text"]]
    expected = [sum(a != b for a, b in zip(near[0], text, strict=True)) for text in near[1:]]
    assert made["distance"][1:] == expected
    assert expected == sorted(expected)


def test_lines_of_a_file_say_what_they_are(runs: Path, tmp_path: Path, say: Say) -> None:
    output = tmp_path / "made.csv"
    assert say("traverse", runs / "series", "--steps", "3", "-o", output).code == 0
    assert {"dimension", "value"} <= table(output).keys()
    assert say("directions", runs / "text", "-n", "2", "-o", output).code == 0
    made = table(output)
    assert made["direction"] == ["pca-1"] * 7 + ["pca-2"] * 7
    assert made["amount"] == [-3, -2, -1, 0, 1, 2, 3] * 2
    assert say("edit", runs / "text", "--rows", "0,1", "--direction", "pca-1=2", "-o", output).code == 0
    assert table(output)["version"] == ["row"] * 2 + ["unedited"] * 2 + ["edited"] * 2


def test_a_picture_of_samples_of_series_has_real_windows_above_them(
    runs: Path, tmp_path: Path, say: Say
) -> None:
    output = tmp_path / "samples.png"
    assert say("sample", runs / "series", "-n", "4", "-o", output).code == 0
    assert size_of(output)[1] == 100 * (3 * 1.3 + 0.6)  # two lines of real windows, and one of samples


def test_what_is_said_of_texts_counts_tokens(runs: Path, tmp_path: Path, say: Say) -> None:
    asked = (
        "invert",
        runs / "text",
        "-n",
        "2",
        "--steps",
        "2",
        "--starts",
        "1",
        "-o",
        tmp_path / "codes.npz",
    )
    assert "of the tokens differ" in say(*asked).err
    assert "nothing is missing" in say("complete", runs / "text", "-o", tmp_path / "filled.txt").err
    asked = ("evaluate", runs / "text", "--metrics", "fidelity", "--no-references")
    assert "token numbers are not quantities" in say(*asked).err


def test_labels_mean_codes_have_the_condition_of_their_label(runs: Path, tmp_path: Path, say: Say) -> None:
    train(runs / "kinds", "--plugin", "audio-vae", "latent.shape=[2]", "generator.filters=2", "encoder.filters=2",
          "data.condition=true")  # fmt: skip
    asked = ("edit", runs / "kinds", "--arithmetic", "sine - saw + noise", "-o", tmp_path / "sum.wav")
    outcome = say(*asked)
    assert outcome.code == 0, outcome.err
    made = tmp_path / "made"
    assert say("sample", runs / "kinds", "-n", "1", "--condition", "saw", "-o", made).code == 0
    unlabelled = ("--data", made)
    assert "--condition C" in say("encode", runs / "kinds", *unlabelled, "-o", tmp_path / "codes.npz").err
    for verb, name in (("encode", "codes.npz"), ("reconstruct", "rows.wav"), ("score", "scores.csv")):
        outcome = say(verb, runs / "kinds", *unlabelled, "--condition", "saw", "-o", tmp_path / name)
        assert outcome.code == 0, outcome.err
    paths = (
        "interpolate",
        runs / "kinds",
        made / "00000.wav",
        made / "00000.wav",
        "-o",
        tmp_path / "paths.wav",
    )
    assert say(*paths, "--condition", "saw").code == 0


@pytest.mark.parametrize("run", ["series", "sounds"])
def test_networks_of_sequences_are_exported_with_any_number_of_rows(
    run: str, runs: Path, tmp_path: Path, say: Say
) -> None:
    outcome = say("export", runs / run, "--part", "reconstruct", "-o", tmp_path / "both.pt2")
    assert outcome.code == 0, outcome.err


def test_texts_are_scored_by_likelihood_alone(runs: Path, tmp_path: Path, say: Say) -> None:
    assert say("score", runs / "text", "-n", "4", "--draws", "2", "-o", tmp_path / "scores.csv").code == 0
    refused = say("score", runs / "text", "--method", "reconstruction")
    assert refused.code == 2
    assert "it compares numbers, and texts have none" in refused.err


def test_a_text_is_exported_with_any_number_of_rows(runs: Path, tmp_path: Path, say: Say) -> None:
    file = tmp_path / "text.pt2"
    outcome = say("export", runs / "text", "-o", file)
    assert outcome.code == 0, outcome.err
    made = torch.export.load(file).module()(torch.randn(3, 2))
    assert made.shape == (3, 24)
