"""``run`` does what was asked, says where it is, and prints nothing on standard output but the run directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import LONG, SMALL, VAE, Refused, Say, files_in, train, write_table

import ganvae_core as gv
from ganvae_core.cli import output
from ganvae_core.cli.output import said_if_slow
from ganvae_core.config.configuration import configure
from ganvae_core.plugins import installed_plugins


def config_of(run: Path) -> dict[str, dict[str, object]]:
    return yaml.safe_load((run / "config.yaml").read_text())


def weights_of(run: Path) -> bytes:
    return max(run.glob("checkpoints/step-*/model.safetensors")).read_bytes()


def test_a_run_says_what_it_does_and_where_everything_is(folder: Path, done: Say) -> None:
    outcome = done(*VAE)
    run = Path("runs/vae-digits-1")
    assert outcome.out == f"{run}\n"
    machine, what, *rest = outcome.err.splitlines()
    assert machine.startswith(f"python 3.{sys.version_info.minor} · torch ")
    assert what == "vae on digits (1,617 images of 8 × 8 to learn from, 180 held out), 2 steps of 16"
    assert rest[-5].startswith("held out: ELBO −")
    assert [line.split() for line in rest[-4:-1]] == [
        ["samples", f"{run}/samples/step-000002.png"],
        ["reconstructed", f"{run}/reconstructions/step-000002.png"],
        ["losses", f"{run}/losses.png"],
    ]
    assert rest[-1].startswith(f"next:  ganvae sample {run} -n 100      ganvae run --plugin dcgan")
    assert set(files_in(run)) == {
        "config.yaml",
        "data.json",
        "plugins.lock.toml",
        "metrics.jsonl",
        "losses.png",
        "samples",
        "samples/step-000002.png",
        "reconstructions",
        "reconstructions/step-000002.png",
        "checkpoints",
        "checkpoints/step-000002",
        "checkpoints/step-000002/manifest.json",
        "checkpoints/step-000002/model.safetensors",
        "checkpoints/step-000002/state.safetensors",
    }


def test_runs_are_numbered_and_named_after_recipe_and_data(folder: Path, done: Say) -> None:
    np.save(folder / "My Waves.npy", np.random.default_rng(0).random((40, 3)))
    assert done(*VAE, "--quiet").out == "runs/vae-digits-1\n"
    assert done(*VAE, "--quiet").out == "runs/vae-digits-2\n"
    assert done(*VAE, "--quiet", "--data", "My Waves.npy").out == "runs/vae-my-waves-1\n"
    assert done("run", "--plugin", "ae", *SMALL, "--steps", "2", "--quiet").out == "runs/ae-digits-1\n"


def test_quiet_prints_the_run_directory_and_nothing_else_not_even_a_library(folder: Path) -> None:
    """In a process of its own, where warnings and logs of libraries would come through."""
    words = ["run", "--plugin", "ae", *SMALL, "--steps", "2", "--quiet"]
    finished = subprocess.run(
        [sys.executable, "-W", "always", "-m", "ganvae_core", *words],
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"},
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "runs/ae-digits-1\n", "")


@pytest.mark.parametrize("words", [[], ["--quiet"], ["--out", "run"], ["--epochs", "2"]])
def test_a_dry_run_prints_the_configuration_and_writes_nothing(
    words: list[str], folder: Path, done: Say
) -> None:
    outcome = done(*(LONG if "--epochs" in words else VAE), *words, "--dry-run")
    assert files_in(folder) == {}
    printed = yaml.safe_load(outcome.out)
    assert printed["engine"]["steps"] == (203 if "--epochs" in words else 2)
    assert printed["generator"]["hidden"] == [4]
    assert "parameters: generator 388 · encoder 420" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("nothing was trained and nothing written")


@pytest.mark.parametrize("words", [["--steps", "3"], ["engine.steps=3"]])
def test_steps_of_the_first_stage_are_said_to_be_that(words: list[str], folder: Path, done: Say) -> None:
    write_table(folder / "x.csv")
    outcome = done("run", "--plugin", "table-vae", "--data", "x.csv", *words, "--dry-run")
    note = "note: --steps sets those of the first stage; for the others:  stages.0.steps=3"
    assert (note in outcome.err.splitlines()) is (words[0] == "--steps")
    assert yaml.safe_load(outcome.out)["stages"][0]["steps"] != 3
    given = done("run", "--plugin", "table-vae", "--data", "x.csv", *words, "stages.0.steps=2", "--dry-run")
    assert "--steps is of the first stage" not in given.err


def test_a_dry_run_finds_the_mistakes_that_a_run_would(vae: Path, refused: Refused) -> None:
    assert "needs an encoder" in refused("run", "--plugin", "vae", "encoder=null", "--dry-run")
    assert "there is a run already" in refused(*VAE, "--out", vae, "--dry-run")


def test_a_dry_run_of_going_on_changes_nothing(vae: Path, folder: Path, done: Say) -> None:
    before = files_in(folder)
    outcome = done("run", "--resume", vae, "--steps", "9", "--dry-run")
    assert yaml.safe_load(outcome.out)["engine"]["steps"] == 9
    assert "9 steps of 16, from step 4" in outcome.err
    assert files_in(folder) == before


@pytest.mark.parametrize(
    ("epochs", "batch", "steps"), [(1, 16, 3), (2, 16, 5), (3, 36, 3), (2, 500, 2), (1, 1, 36)]
)
def test_epochs_are_rounded_up_to_whole_steps(
    epochs: int, batch: int, steps: int, folder: Path, done: Say
) -> None:
    """36 of 40 rows are learned from, and a batch is never more than these."""
    np.save(folder / "x.npy", np.random.default_rng(0).random((40, 3)))
    words = ["run", "--plugin", "vae", "--data", "x.npy", f"engine.batch_size={batch}", "--dry-run"]
    assert yaml.safe_load(done(*words, "--epochs", epochs).out)["engine"]["steps"] == steps


def test_epochs_are_stored_as_steps_so_that_the_run_can_be_repeated(folder: Path, done: Say) -> None:
    write_table(folder / "x.csv")
    done(*LONG, "--data", "x.csv", "data.columns=[height,weight]", "--epochs", "2", "--out", "run", "--quiet")
    assert config_of(Path("run"))["engine"]["steps"] == 5
    assert weights_of(Path("run")) != b""
    assert (folder / "run" / "checkpoints" / "step-000005").is_dir()


def test_short_options_are_keys_by_another_name(done: Say) -> None:
    short = done(*LONG, "--steps", "7", "--seed", "3", "--precision", "fp32", "--data", "digits", "--dry-run")
    long = done(*LONG, "engine.steps=7", "engine.seed=3", "engine.precision=fp32", "data=digits", "--dry-run")
    assert short.out == long.out
    same_twice = done(
        *LONG, "--steps", "7", "engine.steps=7", "--seed", "3", "--precision", "fp32", "--dry-run"
    )
    assert same_twice.out == short.out


def test_a_run_says_what_more_time_would_bring(folder: Path, done: Say) -> None:
    outcome = done("run", "--plugin", "dcgan", "--recipe", "small", *SMALL, "--steps", "1", "metrics=[]")
    spec, _ = installed_plugins().recipe("dcgan", "small")
    assert f"more time: {spec.more}" in outcome.err.splitlines()


def test_the_order_of_settings_does_not_matter(done: Say) -> None:
    words = ["generator.filters=2", "generator=dcgan", "latent.shape=[3]", "--steps", "2"]
    one = done("run", "--plugin", "vae", *words, "--dry-run")
    other = done("run", "--plugin", "vae", *words[:3][::-1], *words[3:], "--dry-run")
    assert one.out == other.out
    assert yaml.safe_load(one.out)["generator"]["filters"] == 2


def test_the_configuration_of_a_run_repeats_it(folder: Path, done: Say) -> None:
    write_table(folder / "x.csv")
    done(*VAE, "--data", "x.csv", "data.columns=[height,weight]", "--seed", "5", "--out", "first", "--quiet")
    (folder / "elsewhere").mkdir()
    os.chdir(folder / "elsewhere")
    done("run", "--config", "../first/config.yaml", "--out", "../second", "--quiet")
    os.chdir(folder)
    assert config_of(Path("first")) == config_of(Path("second"))
    assert weights_of(Path("first")) == weights_of(Path("second"))


def test_the_command_line_comes_before_the_file_and_the_file_before_the_recipe(
    folder: Path, done: Say
) -> None:
    (folder / "mine.yaml").write_text(
        "plugin: vae\nobjective: {name: elbo, beta: 4}\nengine: {steps: 5, seed: 2}\n"
    )
    printed = yaml.safe_load(done("run", "--config", "mine.yaml", "--steps", "6", "--dry-run").out)
    assert printed["objective"] == {
        "name": "vae/elbo",
        "beta": 4.0,
        "free_bits": 0.0,
        "capacity": None,
        "reference": "prior",
    }
    assert (printed["engine"]["steps"], printed["engine"]["seed"]) == (6, 2)
    other = ["--plugin", "gan", "encoder=mlp", "observation=auto"]
    printed = yaml.safe_load(done("run", "--config", "mine.yaml", *other, "--dry-run").out)
    assert (printed["plugin"], printed["objective"]["name"]) == ("gan", "vae/elbo")


def test_the_command_line_trains_what_the_library_trains(folder: Path, done: Say) -> None:
    done(*VAE, "--out", "typed", "--quiet")
    keys = dict(word.split("=") for word in VAE[3:])
    widths = {"generator.hidden": [4], "encoder.hidden": [4]}
    gv.train("vae", overrides={**keys, **widths, "engine.batch_size": 16, "engine.log_every": 1, "engine.steps": 2},
             out="called")  # fmt: skip
    assert weights_of(Path("typed")) == weights_of(Path("called"))
    assert config_of(Path("typed")) == config_of(Path("called"))


def test_the_seed_decides_the_weights(folder: Path) -> None:
    runs = [
        train(folder / name, "--plugin", "vae", "generator.hidden=[4]", "encoder.hidden=[4]", "--seed", seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    first, again, other = map(weights_of, runs)
    assert first == again != other


def test_a_run_goes_on_where_it_was_and_ends_as_if_it_had_never_stopped(folder: Path, done: Say) -> None:
    done(*LONG, "--steps", "6", "engine.checkpoint_every=2", "--out", "through", "--quiet")
    done(*LONG, "--steps", "2", "engine.checkpoint_every=2", "--out", "stopped", "--quiet")
    outcome = done("run", "--resume", "stopped", "--steps", "6")
    assert outcome.out == "stopped\n"
    assert "6 steps of 16, from step 2" in outcome.err
    assert weights_of(Path("through")) == weights_of(Path("stopped"))
    assert config_of(Path("stopped"))["engine"]["steps"] == 6
    records = [json.loads(line) for line in Path("stopped/metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert "finished" not in done("show", "stopped").err


def test_an_empty_folder_may_be_the_run_directory(folder: Path, done: Say) -> None:
    (folder / "run").mkdir()
    assert done(*VAE, "--out", "run", "--quiet").out == "run\n"
    assert done(*VAE, "--out", "a/b/c", "--quiet").out == "a/b/c\n"


def test_an_encoder_that_nothing_trains_is_left_out_and_that_is_said(done: Say) -> None:
    words = ["run", "--plugin", "gan", *SMALL, "--steps", "2", "encoder=mlp", "--dry-run"]
    assert "note: 'gan/relativistic' trains no encoder, so encoder is left out" in done(*words).err


def test_the_smallest_configuration_is_that_of_the_recipe(done: Say) -> None:
    printed = yaml.safe_load(done("run", "--plugin", "ae", "--dry-run").out)
    assert printed == yaml.safe_load(yaml.safe_dump(configure(installed_plugins(), "ae", None, []).as_dict()))


def test_a_long_silence_gets_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with said_if_slow("reading"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(output, "PATIENCE_SECONDS", 0.01)
    err = ""
    with said_if_slow("reading"):
        while not err.endswith("\n"):
            err += capsys.readouterr().err
    assert err + capsys.readouterr().err == "reading …\n"
