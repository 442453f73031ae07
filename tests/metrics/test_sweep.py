"""``ganvae sweep``: ranges, trials that processes share, and what is left of a killed one."""

from __future__ import annotations

import csv
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from command_line import Say
from ganvae_compare import sweeping
from ganvae_compare.plan import read_settings
from ganvae_compare.sweeping import SWEEP, Range, Sweep, parse_range, run_trials, study_of

import ganvae_core as gv

pytest.importorskip("optuna", reason="the extra ganvae[sweep]")

TINY = ("generator.hidden=[4]", "encoder.hidden=[4]", "engine.device=cpu", "engine.steps=3", "engine.log_every=1",
        "engine.checkpoint_every=1", "engine.batch_size=16")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2..64", Range(2, 64, is_whole=True)),
        ("[2..64]", Range(2, 64, is_whole=True, in_list=True)),
        ("0.1..2", Range(0.1, 2)),
        ("log:0.1..10", Range(0.1, 10, is_log=True)),
        ("log:1e-4..1", Range(1e-4, 1, is_log=True)),
        ("any:mlp,dcgan", Range(choices=("mlp", "dcgan"))),
        ("64", None),
        ("[400]", None),
        ("photos/", None),
        ("../x.csv", None),
    ],
)
def test_ranges_are_told_from_values(text: str, found: Range | None) -> None:
    assert parse_range("key", text) == found


@pytest.mark.parametrize("text", ["64..2", "3..3", "log:0..1", "log:-1..1", "1e..2"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(gv.ConfigurationError, match="key"):
        parse_range("key", text)


def begun(folder: Path) -> Sweep:
    return read_settings(Sweep, folder, SWEEP, "sweep")


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say) -> Path:
    monkeypatch.chdir(tmp_path)
    outcome = say(
        "sweep",
        "--plugin",
        "vae",
        "latent.shape=[1..4]",
        "objective.beta=log:0.1..10",
        *TINY,
        "--trials",
        "3",
    )
    assert outcome.code == 0, outcome.err
    assert "next:  ganvae run --config sweep-vae-1/best.yaml" in outcome.err
    assert "importance of the settings: not estimated from fewer than 10 complete trials" in outcome.err
    assert outcome.out == "sweep-vae-1\n"
    return tmp_path / "sweep-vae-1"


def test_a_sweep_gives_a_table_a_plot_and_a_configuration_to_run(
    swept: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    with (swept / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete"] * 3
    best = max(rows, key=lambda row: float(row["elbo_nats"]))
    settings = yaml.safe_load((swept / "best.yaml").read_text())
    assert settings["latent"]["shape"] == [int(best["latent.shape"])]
    assert settings["objective"]["beta"] == pytest.approx(float(best["objective.beta"]))
    assert (swept / "sweep.png").stat().st_size > 5_000
    assert (
        gv.load(Path(best["run"]) if Path(best["run"]).is_absolute() else swept.parent / best["run"]).step
        == 3
    )
    # It is complete: nothing is trained again, from whichever folder it is resumed.
    monkeypatch.chdir(swept / "trials")
    before = sorted(path.name for path in (swept / "trials").iterdir())
    assert say("sweep", "--resume", swept).code == 0
    assert sorted(path.name for path in (swept / "trials").iterdir()) == before
    # A trial that a killed process has left behind does not count.
    study_of(begun(swept)).ask()
    assert say("sweep", "--resume", swept, "--trials", "4").code == 0
    assert [trial.state.name for trial in study_of(begun(swept)).get_trials()] == [
        "COMPLETE", "COMPLETE", "COMPLETE", "RUNNING", "COMPLETE"]  # fmt: skip
    with (swept / "trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)][3:] == ["lost", "complete"]


def test_a_sweep_over_a_file_goes_on_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("a,b\n" + "".join(f"{row * 37 % 41},{row * 17 % 43}\n" for row in range(40)))
    words = ["--plugin", "vae", "--data", "x.csv", "latent.shape=[1..9]", *TINY, "--trials", "1"]
    assert say("sweep", *words, "--out", "found").code == 0
    monkeypatch.chdir(tmp_path / "found")
    assert say("sweep", "--resume", tmp_path / "found", "--trials", "2").code == 0
    ended = study_of(begun(tmp_path / "found")).get_trials()
    assert [trial.state.name for trial in ended] == ["COMPLETE", "COMPLETE"]


def test_a_trial_that_fails_is_named_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    words = ["--plugin", "vae", "optimizers.default.lr=any:1e-3,1e30", *TINY]
    assert say("sweep", *words, "--trials", "1").code in (0, 2)  # 2: the only trial has failed
    sweep = begun(tmp_path / "sweep-vae-1")
    from dataclasses import replace

    run_trials(replace(sweep, trials=6), lines.append)
    assert any("failed" in line for line in lines)
    assert any("elbo_nats" in line for line in lines)


def test_values_that_were_drawn_before_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--plugin", "vae", "latent.shape=[2..3]", "metrics=[elbo, latent-use]", *TINY, "--trials", "4"]
    outcome = say("sweep", *words, "--out", "found")
    assert outcome.code == 0, outcome.err
    with Path("found/trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert len({tuple(row.items())[1:] for row in rows}) == len(list(Path("found/trials").iterdir())) <= 2
    assert all(0 <= float(row["active_units"]) <= int(row["latent.shape"]) for row in rows)


def test_processes_do_not_claim_more_trials_than_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three threads stand for three processes; each looks for more while the others train their last trial."""
    sweep = Sweep(tmp_path, "vae", "", "", (("objective.beta", "0.1..2"),), "elbo_nats", "maximize", 4, 0)
    study_of(sweep).ask()  # of a process that was killed
    said: list[str] = []

    def train(*_: object, out: Path, **__: object) -> SimpleNamespace:
        time.sleep(0.2)
        return SimpleNamespace(results={"elbo_nats": -1234.5678}, path=out, step=3)

    monkeypatch.setattr(gv, "train", train)
    monkeypatch.setattr(sweeping, "POLL_SECONDS", 0.01)
    with ThreadPoolExecutor(3) as threads:
        for ended in [threads.submit(run_trials, sweep, said.append) for _ in range(3)]:
            ended.result(20)
    assert [trial.state.name for trial in study_of(sweep).get_trials()] == ["RUNNING", *["COMPLETE"] * 4]
    assert len(said) == 4
    assert all(re.fullmatch(r"trial \d: .+   objective\.beta=[\d.]{1,6}", line) for line in said)
    assert any("elbo_nats −1235 " in line for line in said)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["latent.shape=[2..4]"], "--plugin"),
        (["--plugin", "vae", "latent.shape=[2]"], "no range"),
        (["--plugin", "vae", "latent.shpe=[2..4]"], "Did you mean"),
        (["--plugin", "vae", "latent.shape=[2..4]", "--metric", "fid"], "elbo_nats"),
        (["--plugin", "gan", "latent.shape=[2..4]", "metrics=[]"], "nothing is measured"),
        (["--resume", "nowhere"], "is not a sweep"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = say("sweep", *words)
    assert outcome.code == 2
    assert expected in outcome.err
    assert list(tmp_path.iterdir()) == []
