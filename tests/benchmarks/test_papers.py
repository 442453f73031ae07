"""The figures of the papers: their files, runs that are stopped and gone on with, and the page of results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluation
import figure
import jobs
import pytest
import results
import run
import table
import torch
import training
from click.testing import CliRunner, Result
from figure import Figure, Row, figure_names, read_figure
from PIL import Image
from results import Results

import ganvae_core as gv
from ganvae_core import ConfigurationError, Engine, GanvaeError, RunError
from ganvae_core.evaluation.sampling import can_sample
from ganvae_core.runs.observers import Pictures

SMALL = """\
title: A ring
shows: Nothing much.
protocol: As it comes.
data: {name: ring, count: 500, held_out: 0}
measures: {modes: {centres: ring, samples: 300}}
columns:
  modes: {title: modes of 8, best: higher}
  high_quality: {title: "% of high quality"}
published:
  - {label: GAN, source: a paper, values: {modes: 6.3 ± .5}}
rows:
  real: {label: real points}
  small:
    label: a small GAN
    plugin: gan
    steps: 4
    seeds: [0, 1]
    against: GAN
    overrides: {latent.shape: [2], generator.hidden: [8], critic.hidden: [8], engine.batch_size: 50}
  other: {label: a slower one, like: small, samples: 150, seeds: [0], overrides: {engine.seed: 5, objective: hinge}}
  large: {label: a large GAN, like: small, steps: 400_000, seeds: [0], long: true}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one small figure, its results, its page and its pictures."""
    (tmp_path / "figures").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "figures" / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(figure, "FOLDER", tmp_path / "figures")
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(table, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(table, "PICTURES", tmp_path / "images")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return tmp_path


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures, which take longer than the runs."""
    monkeypatch.setattr(Pictures, "on_samples", lambda *_: None)
    monkeypatch.setattr(Pictures, "on_end", lambda *_: None)


@pytest.fixture
def say(folder: Path, unseen: None) -> Callable[..., Result]:
    """The command, in this process."""

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(run.main, [*arguments, "--jobs", "1", "--work", str(folder / "work")])

    return command


def small_row(name: str = "small") -> Row:
    return next(row for row in read_figure("small").rows if row.name == name)


def stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results" / "small.json").read_text())["rows"]


# The files


@pytest.mark.parametrize("name", figure_names())
def test_each_figure_can_be_trained_and_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANVAE_DATA_DIR", raising=False)
    found = read_figure(name)
    assert found.title
    assert found.protocol
    assert found.rows
    for row in found.rows:
        training.definition(row)
        assert evaluation.chosen(row), row.name
        assert not row.against or row.against in [published.label for published in found.published]
    for published in found.published:
        assert published.source
        assert published.values.keys() <= found.columns.keys()


def test_the_page_is_what_the_results_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANVAE_DATA_DIR", raising=False)
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), (
        "write it anew: python benchmarks/papers/table.py"
    )


def test_a_row_has_the_settings_of_the_row_that_it_is_like(folder: Path) -> None:
    configuration = training.configuration_of(small_row("other"), seed=3)
    assert configuration.components["objective"].id == "gan/hinge"
    assert tuple(configuration.components["generator"].options["hidden"]) == (8,)
    assert (
        configuration.engine.steps == 3
    )  # 150 samples in batches of 50: its own budget, not the other's steps
    assert configuration.engine.seed == 3
    assert small_row("other").against == "GAN"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("title:", "titel:", "there is no 'titel'. Did you mean 'title'"),
        ("steps: 4", "stepps: 4", "small.rows.small: there is no 'stepps'. Did you mean 'steps'"),
        ("steps: 4", "steps: 4\n    samples: 5", "give either samples or steps"),
        ("    steps: 4\n", "", "give either samples or steps"),
        ("seeds: [0, 1]", "seeds: two", "small.rows.small.seeds"),
        ("like: small, samples", "like: smal, samples", "no row 'smal' above"),
        (
            "like: small, samples",
            "like: small, start: large, samples",
            "other.start: there is no row 'large' above",
        ),
    ],
)
def test_a_file_with_a_mistake_is_refused(folder: Path, before: str, after: str, message: str) -> None:
    assert before in SMALL
    (folder / "figures" / "small.yaml").write_text(SMALL.replace(before, after, 1))
    with pytest.raises(ConfigurationError, match=message.replace("?", r"\?")):
        read_figure("small")


def test_unknown_measures_and_options_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no 'mode'\. Did you mean 'modes'"):
        evaluation.chosen(dataclasses.replace(small_row(), measures={"mode": {}}))
    with pytest.raises(ConfigurationError, match=r"it has no 'sampels'\. Did you mean 'samples'"):
        evaluation.chosen(dataclasses.replace(small_row(), measures={"modes": {"sampels": 3}}))


def test_judges_are_known_before_anything_is_measured(folder: Path) -> None:
    assert evaluation.judges_of(small_row()) == []
    asking = dataclasses.replace(small_row(), measures={"frechet": {}, "conditions": {"judge": "digits-svm"}})
    assert evaluation.judges_of(asking) == ["mnist-cnn", "digits-svm"]


# Runs


def test_what_is_done_is_not_done_again(folder: Path, say: Callable[..., Result]) -> None:
    first = say("small")
    assert first.exit_code == 0, first.output
    assert "4 runs in" in first.output  # real points, two seeds, one seed; the long row is left out
    seeds = stored(folder)["small"]["seeds"]
    assert seeds.keys() == {"0", "1"}
    assert seeds["0"]["samples_seen"] == 200
    assert seeds["0"]["values"].keys() == {"modes", "high_quality", "mode_kl"}
    assert {"cpu", "threads", "torch", "date"} <= seeds["0"]["machine"].keys()

    again = say("small")
    assert "nothing to do" in again.output
    more = say("small/small", "--seeds", "1-2")
    assert "1 runs in" in more.output
    assert stored(folder)["small"]["seeds"].keys() == {"0", "1", "2"}
    assert "2 runs in" in say("small/small", "--again").output


def test_a_changed_setting_makes_a_row_wanting_again(folder: Path, say: Callable[..., Result]) -> None:
    say("small/small")
    (folder / "figures" / "small.yaml").write_text(SMALL.replace("critic.hidden: [8]", "critic.hidden: [9]"))
    assert "0 of 2 seeds done" in say("--list").output
    assert table.OUTDATED in table.page()
    say("small/small", "--seeds", "0")
    assert stored(folder)["small"]["seeds"].keys() == {"0"}  # the other seed's result was of other settings
    assert "1 of 2 seeds done" in say("--list").output


def test_a_new_option_does_not_make_a_row_wanting() -> None:
    before = {"objective": {"name": "gan/hinge", "packing": 1}, "seeds": [0, 1]}
    assert training.covers(
        {"objective": {"name": "gan/hinge", "packing": 1, "new": 0}, "seeds": [0, 1]}, before
    )
    assert not training.covers({"objective": {"name": "gan/hinge", "packing": 2}, "seeds": [0, 1]}, before)
    assert not training.covers({"objective": {"name": "gan/hinge"}, "seeds": [0, 1]}, before)
    assert not training.covers({"objective": "gan/hinge", "seeds": [0, 1]}, before)


def test_where_data_lies_and_which_seed_it_was_changes_no_definition(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = dataclasses.replace(small_row(), data={"name": "stacked", "source": "mnist"}, overrides=[])
    for place in ("here", "there"):
        (folder / place / "mnist").mkdir(parents=True)
        (folder / place / "mnist" / "train-images-idx3-ubyte.gz").touch()
    monkeypatch.setenv("GANVAE_DATA_DIR", str(folder / "here"))
    here = training.definition(row)
    monkeypatch.setenv("GANVAE_DATA_DIR", str(folder / "there"))
    assert training.definition(row) == here
    assert str(folder) not in json.dumps(here)


def test_a_trial_leaves_nothing_behind(folder: Path, say: Callable[..., Result]) -> None:
    tried = say("small", "--steps", "2")
    assert "3 runs in" in tried.output  # each row once
    assert not (folder / "results").exists()
    assert not table.PAGE.exists()
    assert list((folder / "work").rglob("*.safetensors")) == []


def test_one_row_that_fails_leaves_the_others_alone(
    folder: Path, say: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    do = jobs.do

    def failing(job: jobs.Job) -> dict[str, Any]:
        if job.row.name == "other":
            raise RuntimeError("the critic is out of order")
        return do(job)

    monkeypatch.setattr(jobs, "do", failing)
    outcome = say("small")
    assert outcome.exit_code == 1
    assert "the critic is out of order" in outcome.output
    assert "failed: small/other, seed 0" in outcome.output
    assert stored(folder).keys() == {"real", "small"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smal"], "there is no figure 'smal'. Did you mean 'small'?"),
        (["small/smal"], "has no row 'smal'. Did you mean 'small'?"),
        (["small", "--seeds", "all"], "is not like 0-9"),
    ],
)
def test_wrong_arguments_are_explained(
    say: Callable[..., Result], arguments: list[str], message: str
) -> None:
    outcome = say(*arguments)
    assert outcome.exit_code == 2
    assert message in outcome.output


def test_a_run_that_was_stopped_goes_on_where_it_was(
    folder: Path, unseen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "FEWEST_STEPS", 2)
    row = dataclasses.replace(small_row(), steps=5)
    whole = training.train(row, 0, folder / "whole")
    step = Engine.step

    def stopped(engine: Engine, generator: torch.Generator) -> None:
        if engine.step_index == 3:
            raise KeyboardInterrupt
        step(engine, generator)

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            training.train(row, 0, folder / "run")

    done: list[int] = []

    def counted(engine: Engine, generator: torch.Generator) -> None:
        step(engine, generator)
        done.append(engine.step_index)

    monkeypatch.setattr(Engine, "step", counted)
    trained = training.train(row, 0, folder / "run")
    assert done == [3, 4, 5]  # from the checkpoint of step 2
    assert trained.samples_seen == 250
    assert not trained.objective.training
    for name, tensor in whole.run.model.state_dict().items():
        assert torch.equal(tensor, trained.run.model.state_dict()[name]), name

    done.clear()
    training.train(row, 0, folder / "run")
    assert done == []  # trained, but not measured yet
    training.mark_measured(folder / "run")
    training.train(row, 0, folder / "run")
    assert done == [1, 2, 3, 4, 5]
    done.clear()
    training.train(dataclasses.replace(row, steps=6), 0, folder / "run")
    assert done == [1, 2, 3, 4, 5, 6]  # of other settings


PRIORS = """\
title: Priors
protocol: As it comes.
data: {name: digits}
measures: {kernel: {}}
columns: {psnr: {title: PSNR}}
rows:
  ae:
    plugin: ae
    steps: 2
    overrides: {latent.shape: [2], generator.hidden: [4], encoder.hidden: [4], prior.components: 2}
  mixture:
    like: ae
    start: ae
    overrides: {prior: {name: mixture, components: 2}, objective: prior-likelihood, train: [prior]}
"""


def test_a_row_starts_from_the_run_of_another_with_its_seed(
    folder: Path, unseen: None, say: Callable[..., Result]
) -> None:
    (folder / "figures" / "small.yaml").write_text(PRIORS)
    tried = say("small/mixture", "--steps", "1")
    assert tried.exit_code == 0, tried.output
    assert list((folder / "work" / "trials").iterdir()) == []
    row = small_row("mixture")
    beginning = folder / "runs" / "priors-ae-0"
    seconds = training.train(small_row("ae"), 0, beginning).seconds
    written = (beginning / "data.json").stat().st_mtime_ns
    assert training.train(small_row("ae"), 0, beginning).seconds == pytest.approx(seconds, abs=0.5)
    training.mark_measured(beginning)
    made = training.train(row, 0, folder / "runs" / "priors-mixture-0").run.model
    assert (beginning / "data.json").stat().st_mtime_ns == written  # it serves the row above and this one
    start = gv.load(beginning).model
    assert can_sample(start)  # the mixture was fitted, after the steps
    for part in ("generator", "encoder"):
        for name, tensor in getattr(start, part).state_dict().items():
            assert torch.equal(tensor, getattr(made, part).state_dict()[name]), name
    other = PRIORS.replace("encoder.hidden: [4]", "encoder.hidden: [5]")
    before = training.definition(row)
    (folder / "figures" / "small.yaml").write_text(other)
    assert training.definition(small_row("mixture"))["start"] != before["start"]
    assert str(folder) not in json.dumps(before)


# The page


def measured(name: str, *values: float, against: float | None = None) -> table.Measured:
    machine = {"cpu": "a CPU", "cores": 2, "threads": 1, "python": "3.11", "torch": "2", "date": "2026-01-01"}
    judges = (
        {}
        if against is None
        else {"a-judge": {"accuracy": against, "held_out": 450, "identity": str(against)}}
    )
    seeds = {
        seed: {"values": {"modes": value}, "seconds": 100 * (seed + 1), "judges": judges, "machine": machine}
        for seed, value in enumerate(values)
    }
    return table.Measured(small_row(name), seeds)


def line(figure: Figure, *rows: table.Measured) -> str:
    return list(table.table(figure, rows))[-1]


def test_the_table_marks_what_has_not_been_run(folder: Path) -> None:
    small = read_figure("small")
    assert line(small, measured("small")) == "| **a small GAN**, against *GAN* | *not run* |  | of 2 |  |  |"
    assert table.TOO_LONG in line(small, measured("large"))
    assert table.OUTDATED in line(small, dataclasses.replace(measured("small"), outdated=True))


def test_the_table_has_means_errors_and_what_is_missing(folder: Path) -> None:
    small = read_figure("small")
    assert line(small, measured("small", 4.0)).startswith(
        "| **a small GAN**, against *GAN* | 4.0 |  | 1 of 2 |"
    )
    found = line(small, measured("small", 4.0, 8.0))
    assert "| 6.0 ± 2.0 (median 6.0, best 8.0) |" in found
    assert found.endswith("| 2 |  | 2 min |")
    assert line(small, measured("small", 4.0, float("nan"))).count("not finite") == 1
    assert line(small, measured("real", 8.0)) == "| **real points** | 8.0 |  |  |  |  |"


def test_every_seed_is_listed(folder: Path) -> None:
    text = table.section(read_figure("small"), [measured("small", 4.0, 8.0)])
    assert "- a small GAN, seeds 0, 1\n    - modes of 8: 4.0, 8.0\n    - seconds: 100, 200" in text
    assert "| *GAN* (a paper) | 6.3 ± .5 |" in text
    assert "Taken on a CPU, 2 cores, 1 thread a run, Python 3.11, torch 2, 2026-01-01." in text


AIMS = """\
aims:
  - {says: seven, row: small, column: modes, above: 7}
  - {says: fewer than seven, row: small, column: modes, below: 7}
  - {says: half of the other, row: small, column: modes, below: other, times: 0.5, each: true}
  - {says: one more than the other, row: small, column: modes, above: other, plus: 1}
  - {says: more than the large one, row: small, column: modes, above: large}
"""


def test_each_aim_is_met_or_missed_by_what_was_measured(folder: Path) -> None:
    (folder / "figures" / "small.yaml").write_text(SMALL.replace("published:", AIMS + "published:"))
    rows = [measured("small", 4.0, 8.0), measured("other", 9.0, 10.0, 1.0), measured("large")]
    assert list(table.aims(read_figure("small"), rows))[2:] == [
        "- seven: **missed** (6.0, and 7.0 is asked for)",
        "- fewer than seven: **met** (6.0, and 7.0 is asked for)",
        "- half of the other: **missed** (in 1 of 2 seeds)",
        "- one more than the other: **missed** (6.0, and 7.7 is asked for)",
        "- more than the large one: *not run*",
    ]
    (folder / "figures" / "small.yaml").write_text(
        SMALL.replace("published:", AIMS.replace("row: small", "rows: small") + "published:")
    )
    with pytest.raises(ConfigurationError):
        read_figure("small")


def test_values_of_different_judges_are_told_apart(folder: Path) -> None:
    same = list(table.remarks([measured("small", 4.0, against=98.0), measured("other", 5.0, against=98.0)]))
    assert same[0] == "Judged by `a-judge` (98.0), which is right on 98.00 % of 450 held-out real images."
    assert not any("not comparable" in remark for remark in same)
    other = list(table.remarks([measured("small", 4.0, against=98.0), measured("other", 5.0, against=97.0)]))
    assert any("not comparable" in remark for remark in other)


def test_the_page_shows_the_first_seeds_picture(folder: Path) -> None:
    (folder / "figures" / "small.yaml").write_text(
        SMALL.replace("    steps: 4", "    steps: 4\n    picture: samples/*.png")
    )
    names = ["small/small", "small/real", "--seeds", "0", "--jobs", "1", "--work", str(folder / "work")]
    outcome = CliRunner().invoke(run.main, names)
    assert outcome.exit_code == 0, outcome.output
    with Image.open(folder / "images" / "papers-small-small.png") as image:
        image.verify()
    text = table.PAGE.read_text()
    assert "![a small GAN, seed 0](images/papers-small-small.png)" in text
    assert "| **real points** | 8.0 |" in text
    assert "a slower one**, against *GAN* | *not run* |" in text


def test_a_picture_that_a_run_has_not_drawn_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"codes/\*\.png"):
        jobs.keep_picture(folder, "codes/*.png", folder / "images" / "papers-small-small.png")


def test_damaged_results_are_not_taken_for_none(folder: Path) -> None:
    (folder / "results").mkdir()
    (folder / "results" / "small.json").write_text('{"rows":')
    with pytest.raises(RunError, match=r"small\.json"):
        results.read_results("small")


def test_a_row_whose_plugin_is_not_there_was_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(row: Row) -> dict[str, Any]:
        raise GanvaeError("there is no plugin 'gan'.")

    found = Results(folder / "results" / "small.json", {})
    found.add("small", {"steps": 4}, 0, {"values": {"modes": 8.0}})
    monkeypatch.setattr(table, "definition", unknown)
    first, *_ = [row for row in table.measured(read_figure("small"), found) if row.row.name == "small"]
    assert not first.seeds
    assert first.outdated
