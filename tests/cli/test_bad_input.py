"""A day of small abuses beside those of ``test_refusals``: files, checkpoints, plugins, outputs and signals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from command_line import LONG, SMALL, VAE, Refused, Say, files_in, train, write_table
from warm import Warm

from ganvae_core.cli.launcher import how_to_go_on
from ganvae_core.cli.progress import Progress
from ganvae_core.plugins import installed_plugins
from ganvae_core.store import directory as runs
from ganvae_core.store.manifests import manifest_text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--plugin", ""], "there is no plugin ''."),
        (["--plugin", "vae", "="], "'=' is not a setting"),
        (["--plugin", "vae", "engine.steps"], "'engine.steps' is not a setting: settings are written KEY=VALUE"),
        (["--plugin", "vae", "engine.steps="], "engine.steps: '' is not possible here"),
        (["--plugin", "vae", "engine.steps=1.5"], "engine.steps: '1.5' is not possible here"),
        (["--plugin", "vae", "engine..steps=3"], "'engine' has no option ''"),
        (["--plugin", "vae", "objective.beta=inf"], "objective.beta: 'inf' is not possible here"),
        (["--plugin", "vae", "objective.beta.x=1"], "objective.beta:"),
        (["--plugin", "vae", "objective="], "there is no objective ''"),
        (["--plugin", "vae", "plugin=gan"], "plugin=gan: a plugin is named by --plugin"),
        (["--plugin", "vae", "recipe=gan"], "recipe=gan: a recipe is named by --recipe"),
        (["plugin=vae"], "a plugin is named by --plugin.  ganvae run --plugin vae"),
        (["--plugin", "vae", "optimizers.default.lr=inf"], "optimizers.default.lr: 'inf'"),
        (["--plugin", "vae", "engine.seed=-1"], "engine.seed: -1"),
        (["--plugin", "vae", "engine.batch_size=0"], "engine.batch_size: 0"),
        (["--plugin", "vae", "--epochs", "x"], "'x' is not a valid whole number"),
        (["--plugin", "vae", "--epochs", "2", "engine.steps=9"], "--epochs and --steps both say how long"),
        (["--plugin", "vae", "latent.shape=[99999999999]"], "could not be made"),
        (["--plugin", "vae", "generator.hidden=[99999999999999]"], "could not be made"),
        (["--plugin", "vae", "critic=5"], "there is no critic '5'"),
        (["--plugin", "vae", "data=null"], "data: every run needs one"),
        (["--plugin", "vae", "--data", ""], "data: its name is empty"),
        (["--plugin", "vae", "--out", ""], "'--out': it is empty"),
        (["--resume", ""], "'--resume': it is empty"),
        (["--config", ""], "'--config': it is empty"),
        (["--plugin", "vae", "data=digits", "--data", "array"], "data is given twice: 'digits' and 'array'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_words_that_slipped_are_refused(arguments: list[str], expected: str, refused: Refused) -> None:
    assert expected in refused("run", *arguments)


def test_settings_at_their_edge_work(say: Say) -> None:
    for words in (["generator.hidden=[]"], ["latent.shape=[2,3]"], ["engine.samples_every=0"], ["data.held_out=0"],
                  ["--seed", 2**70]):  # fmt: skip
        outcome = say("run", "--plugin", "vae", *SMALL, "engine.steps=2", *words, "--quiet")
        assert outcome.code == 0, (words, outcome.err)


@pytest.mark.parametrize(("prior", "better"), [("normal", "gaussian-mixture"), ("mixture", "mixture")])
def test_an_autoencoder_takes_any_prior_and_says_when_its_samples_are_noise(
    prior: str, better: str, say: Say
) -> None:
    few = ("engine.steps=2", "generator.hidden=[4]", "encoder.hidden=[4]")
    outcome = say("run", "--plugin", "ae", *SMALL, *few, f"prior={prior}")
    assert outcome.code == 0, outcome.err
    assert (
        f"samples will be noise; train one on the codes afterwards:  ganvae fit-prior RUN --prior {better}\n"
        in outcome.err
    )
    run = outcome.out.strip()
    advice = (
        "samples are noise: this run trained no prior on its codes\n"
        f"train one:  ganvae fit-prior {run} --prior {better}\n"
    )
    said = [outcome.err, *(say(verb, run).err for verb in ("show", "sample"))]
    assert all(advice in each for each in said)
    fitted = say("fit-prior", run, "--prior", better, "--steps", 2)
    assert fitted.code == 0, fitted.err
    said = [fitted.err, *(say(verb, fitted.out.strip()).err for verb in ("show", "sample"))]
    assert not any("noise" in each for each in said)


def test_a_prior_that_is_fitted_to_all_conditions_together_is_mentioned(say: Say, folder: Path) -> None:
    words = ("engine.steps=2", "generator.hidden=[4]", "encoder.hidden=[4]", "data.condition=true")
    outcome = say("run", "--plugin", "ae", *SMALL, *words)
    assert outcome.code == 0, outcome.err
    assert "codes of all conditions together" in outcome.err


# Files


def test_a_folder_as_a_configuration_is_refused(folder: Path, refused: Refused) -> None:
    (folder / "mine").mkdir()
    assert "'mine' cannot be read" in refused("run", "--plugin", "vae", "--config", "mine")


def test_a_configuration_with_a_control_character_is_refused_in_a_line(
    folder: Path, refused: Refused
) -> None:
    (folder / "mine.yaml").write_bytes(b"engine: \x00\n")
    assert len(refused("run", "--plugin", "vae", "--config", "mine.yaml").splitlines()) == 1


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}\n"])
def test_an_empty_configuration_changes_nothing(text: str, folder: Path, say: Say) -> None:
    (folder / "mine.yaml").write_text(text)
    assert say(*VAE, "--config", "mine.yaml", "--dry-run").code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="for the superuser every file is readable")
def test_what_may_not_be_read_or_written_is_refused(folder: Path, refused: Refused) -> None:
    write_table(folder / "table.csv").chmod(0)
    assert "table.csv" in refused(*VAE, "--data", "table.csv")
    (folder / "locked").mkdir()
    (folder / "locked").chmod(0o555)
    assert "locked/run" in refused(*VAE, "--out", "locked/run")


def test_a_misspelt_file_is_answered_with_the_nearest(folder: Path, refused: Refused) -> None:
    write_table(folder / "table.csv")
    assert "no file 'tabel.csv'. Did you mean 'table.csv'?" in refused(*VAE, "--data", "tabel.csv")


def test_options_of_another_source_are_refused(folder: Path, refused: Refused) -> None:
    write_table(folder / "table.csv")
    options = "it has: path, columns, drop, label"
    assert options in refused(*VAE, "--data", "table.csv", "data.resize=8")
    assert options in refused(*VAE, "--data", "table.csv", "data.grayscale=true")
    assert "did you mean 'label'" in refused(*VAE, "--data", "table.csv", "data.labels=size").lower()


def test_an_archive_of_several_arrays_asks_for_one(folder: Path, refused: Refused) -> None:
    np.savez(folder / "x.npz", a=np.zeros((9, 3)), b=np.zeros((9, 3)))
    assert "choose one:  data.key=a" in refused(*VAE, "--data", "x.npz")
    assert "no array 'c'" in refused(*VAE, "--data", "x.npz", "data.key=c")


def test_unbounded_data_has_no_bernoulli_and_no_condition(folder: Path, refused: Refused) -> None:
    write_table(folder / "table.csv")
    table = ("--data", "table.csv", "data.columns=[height]")
    assert "use observation=gaussian" in refused(*VAE, *table, "observation=bernoulli")
    assert "no labels" in refused(*VAE, *table, "data.condition=true")


def test_one_row_is_enough_for_what_can_be_learned_from_one(folder: Path, say: Say, refused: Refused) -> None:
    np.save(folder / "x.npy", np.array([[1.0, 2.0]]))
    outcome = say(*VAE, "--data", "x.npy")
    assert outcome.code == 0
    assert "(1 point), 2 steps of 1" in outcome.err
    assert "there is only 1 row to learn from, so the batch is 1 instead of 16" in outcome.err
    ae = refused("run", "--plugin", "ae", *SMALL, "engine.steps=2", "--data", "x.npy")
    assert "fitted on the codes of two rows or more" in ae
    gan = ("run", "--plugin", "gan", *SMALL, "engine.steps=2", "generator.batch_norm=true")
    assert "a batch of one row cannot be normalised" in refused(*gan, "--data", "x.npy")


def test_names_in_any_script_work_and_are_quoted_where_a_shell_needs_it(folder: Path, say: Say) -> None:
    (folder / "données").mkdir()
    data = write_table(folder / "données" / "größe 1.csv")
    outcome = say(*VAE, "--data", data, "data.columns=[height,weight]", "--out", "läufe/erster lauf")
    assert (outcome.code, outcome.out) == (0, "läufe/erster lauf\n")
    assert "next:  ganvae sample 'läufe/erster lauf' -n 100" in outcome.err
    taken = say(*VAE, "--out", "läufe/erster lauf")
    assert "ganvae run --resume 'läufe/erster lauf'" in taken.err


# Run directories


def test_a_name_that_is_too_long_is_refused(refused: Refused) -> None:
    for words in (
        ("run", "--plugin", "vae", "--out"), ("run", "--resume"), ("sample",), ("run", "--plugin", "vae", "--config"),
    ):  # fmt: skip
        said = refused(*words, "x" * 300)
        assert "name too long" in said or "there is no run" in said


def test_a_run_directory_cannot_be_below_a_file(folder: Path, refused: Refused) -> None:
    (folder / "file").touch()
    assert "cannot be made" in refused(*VAE, "--out", "file/run")
    (folder / "runs").touch()
    assert "cannot be made" in refused(*VAE)


def test_a_run_directory_that_cannot_be_filled_is_taken_away_again(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = runs.RunDirectory.write

    def full(directory: runs.RunDirectory, name: str, text: str) -> None:
        if name == runs.DATA:
            with runs.writing(directory.path / name):
                raise OSError(28, "No space left on device")
        write(directory, name, text)

    monkeypatch.setattr(runs.RunDirectory, "write", full)
    assert "data.json could not be written: No space left" in refused(*VAE, "--out", "run", code=1)


def test_training_that_diverges_is_said_with_exit_code_1(say: Say) -> None:
    outcome = say(*LONG, "--steps", "20", "optimizers.default.lr=1e30", "--out", "run")
    assert (outcome.code, outcome.out) == (1, "")
    (error,) = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert "not finite" in error


def test_a_finished_run_goes_on_only_for_longer(vae: Path, refused: Refused, done: Say) -> None:
    for words in ([], ["--steps", "3"], ["--data", "digits"]):
        assert "is finished: it has done its 4 steps" in refused("run", "--resume", vae, *words)
    assert done("run", "--resume", vae, "--steps", "5", "--quiet").out == f"{vae}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["engine.seed=3"], "these differ: engine.seed"),
        (["generator=dcgan"], "these differ: generator"),
        (["--data", "nowhere.npy"], "differ: data"),
        (["engine.stesp=9"], "Did you mean 'steps'"),
        (["engine.steps"], "'engine.steps' is not a setting"),
        (["plugin=gan"], "plugin=gan: a plugin is named by --plugin"),
        (["--device", "tpu"], "no device 'tpu'"),
        (["--steps", "-4"], "engine.steps: -4"),
        (["--out", "x"], "--out does not go with --resume"),
        (["--config", "x"], "--config does not go with --resume"),
        (["--epochs", "3"], "--epochs does not go with --resume"),
        (["--recipe", "x"], "--recipe does not go with --resume"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_run_goes_on_only_as_it_was_started(
    words: list[str], expected: str, vae: Path, refused: Refused
) -> None:
    longer = [] if any("steps" in word for word in words) else ["engine.steps=9"]
    assert expected in refused("run", "--resume", vae, *longer, *words)


def test_a_run_whose_data_is_gone_or_another_does_not_go_on(
    folder: Path, done: Say, refused: Refused
) -> None:
    data = write_table(folder / "table.csv")
    done(*VAE, "--data", data, "data.columns=[height,weight]", "--out", "run", "--quiet")
    write_table(data, rows=41)
    assert "the data is not what 'run' was trained on" in refused("run", "--resume", "run", "--steps", "4")
    data.unlink()
    assert "there is no file" in refused("run", "--resume", "run", "--steps", "4")
    assert "there is no file" in refused("encode", "run")
    assert done("sample", "run", "-n", "3", "-o", "made.csv").out == "made.csv\n"
    assert "drawn without the real data" in done("sample", "run", "-o", "made.png").err


# Checkpoints


def rewrite(run: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the newest weights, and the sum that vouches for them."""
    checkpoint = run / "checkpoints" / "step-000004"
    weights = change((checkpoint / "model.safetensors").read_bytes())
    (checkpoint / "model.safetensors").write_bytes(weights)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["sha256"]["model.safetensors"] = hashlib.sha256(weights).hexdigest()
    (checkpoint / "manifest.json").write_text(manifest_text(manifest))


@pytest.mark.parametrize("verb", ["sample", "reconstruct", "encode"])
def test_weights_that_are_not_safetensors_are_refused(verb: str, vae: Path, refused: Refused) -> None:
    rewrite(vae, lambda _: b"\x80\x04\x95 a pickle, say")
    assert "model.safetensors is not a safetensors file" in refused(verb, vae)


def test_weights_of_other_shapes_are_refused_by_name(vae: Path, refused: Refused) -> None:
    def widened(weights: bytes) -> bytes:
        tensors = safetensors.numpy.load(weights)
        name = next(name for name in tensors if name.startswith("encoder.") and tensors[name].ndim == 2)
        return safetensors.numpy.save({**tensors, name: np.zeros((9, 9), np.float32)})

    rewrite(vae, widened)
    said = refused("sample", vae)
    assert "does not fit the configuration beside it" in said
    assert "has shape (9, 9)" in said


def test_a_run_goes_on_from_the_newest_checkpoint_that_is_whole(
    vae: Path, say: Say, refused: Refused, done: Say
) -> None:
    newest = vae / "checkpoints" / "step-000004" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    outcome = say("run", "--resume", vae, "--steps", "5", "--dry-run")
    assert outcome.code == 0
    assert "warning: passed over: " in outcome.err
    assert "from step 2" in outcome.err
    told = f"warning: passed over: {newest} is damaged"
    assert say("run", "--resume", vae, "--steps", "5", "--dry-run", "--quiet").err.startswith(told)
    assert "at step 4" in done("sample", vae, "-n", "2").err, "samples need the model alone"
    model = newest.with_name("model.safetensors")
    model.write_bytes(model.read_bytes()[:100])
    told = f"warning: passed over: {model} is damaged"
    assert say("sample", vae, "-n", "2").err.startswith(told)
    (vae / "checkpoints" / "step-000002" / "manifest.json").write_text("{")
    refused("run", "--resume", vae, "--steps", "5")
    shutil.rmtree(vae / "checkpoints")
    assert "has no checkpoint: it was stopped before its first one" in refused("sample", vae)
    outcome = done("run", "--resume", vae, "--steps", "5")
    assert "it was stopped before its first checkpoint, so it begins anew" in outcome.err


@pytest.mark.parametrize("wanted", ["x", "", "-1", "3"])
def test_a_checkpoint_that_is_not_there_is_answered_with_those_that_are(
    wanted: str, vae: Path, refused: Refused
) -> None:
    assert "it has: 2, 4, best" in refused("sample", vae, "--checkpoint", wanted)


def test_there_is_no_best_checkpoint_where_nothing_was_measured(folder: Path, refused: Refused) -> None:
    gan = train(folder / "gan", "--plugin", "gan", "generator.hidden=[4]", "critic.hidden=[4]", "metrics=[]")
    assert "no best checkpoint" in refused("sample", gan, "--checkpoint", "best")
    assert "it has: 2\n" in refused("sample", gan, "--checkpoint", "9")


# Outputs


@pytest.mark.parametrize(
    ("verb", "output", "expected"),
    [
        ("sample", "", "it is empty"),
        ("sample", "thesis", "this folder is not empty"),
        ("sample", "file", "this is a file"),
        ("sample", "x.csv", "endings: .png, .npz, .npy, or a folder"),
        ("sample", "file/x.npz", "is a file, not a folder"),
        ("reconstruct", "thesis", "this folder is not empty"),
        ("reconstruct", "x.csv", "endings: .png, .npz, .npy, or a folder"),
        ("encode", "thesis", "not written to a folder"),
        ("encode", "x.npy", "endings: .npz\n"),
        ("encode", "named.npz", "not written to a folder"),
    ],
)
def test_what_cannot_be_written_to_is_refused_before_anything_is_computed(
    verb: str, output: str, expected: str, vae: Path, folder: Path, refused: Refused
) -> None:
    (folder / "thesis").mkdir()
    (folder / "thesis" / "00000.png").write_text("mine")
    (folder / "named.npz").mkdir()
    (folder / "file").touch()
    assert expected in refused(verb, vae, "-o", output)


def test_the_data_is_never_written_over(folder: Path, done: Say, refused: Refused) -> None:
    for name in ("own.npz", "other.npz"):
        np.savez(folder / name, x=np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8))
    done(*VAE, "--data", "own.npz", "--out", "run", "--quiet")
    for verb in ("sample", "reconstruct", "encode"):
        assert "reads its data from there" in refused(verb, "run", "-o", "own.npz")
    for verb in ("reconstruct", "encode"):
        said = refused(verb, "run", "--data", "other.npz", "-o", "./other.npz")
        assert "reads its data from there" in said


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ("0", "0 is not in the range"),
        ("-1", "-1 is not in the range"),
        ("x", "'x' is not a valid whole number"),
        ("1e3", "'1e3' is not a valid whole number"),
        ("100000000000", "GiB of memory, and"),
        (str(10**30), "GiB of memory, and"),
    ],
)
def test_a_number_of_samples_that_cannot_be_is_refused_at_once(
    count: str, expected: str, vae: Path, refused: Refused
) -> None:
    assert expected in refused("sample", vae, "-n", count, "-o", "x.npy")


def test_a_folder_of_images_appears_whole_or_not_at_all(
    vae: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    save = Image.Image.save

    def full(image: Image.Image, path: Path, *arguments: object) -> None:
        if path.name == "00002.png":
            raise OSError(28, "No space left on device")
        save(image, path)

    monkeypatch.setattr(Image.Image, "save", full)
    said = refused("sample", vae, "-n", "5", "-o", "made", code=1)
    assert "error: made could not be written: No space left on device." in said


# Plugins


PLUGIN = """
from ganvae_core.plugins import ComponentSpec, hookimpl

ganvae_api = 1

@hookimpl
def ganvae_components():
    return [ComponentSpec("generator", "flat", "x_flat.parts:FlatGenerator", "of flat codes alone"),
            ComponentSpec("generator", "lost", "x_flat.parts:Lost", "is not there")]
"""
PARTS = """
import math

import torch

import ganvae_core as gv

class FlatGenerator(gv.Generator):
    def __init__(self, latent_shape, raw_shape):
        super().__init__()
        self.raw_shape = tuple(raw_shape)
        self.layer = torch.nn.Linear(latent_shape[0], math.prod(raw_shape))

    def forward(self, z, condition=None):
        return self.layer(z).reshape(len(z), *self.raw_shape)
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Two more plugins: ``flat``, with a generator of its own, and ``sketch``, which cannot be imported."""
    place = tmp_path / "installed"
    for name, module in (("flat", PLUGIN), ("sketch", "import cairo_that_is_not_there\n")):
        info = place / f"x_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: x-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ganvae]\n{name} = x_{name}.plugin\n")
        (place / f"x_{name}").mkdir()
        (place / f"x_{name}" / "__init__.py").touch()
        (place / f"x_{name}" / "plugin.py").write_text(module)
    (place / "x_flat" / "parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(place)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    installed_plugins.cache_clear()
    yield
    installed_plugins.cache_clear()


@pytest.mark.usefixtures("plugins")
def test_a_latent_shape_that_the_generator_cannot_take_is_refused(refused: Refused, say: Say) -> None:
    run = ("run", "--plugin", "vae", *SMALL, "engine.steps=2", "generator=flat", "encoder.hidden=[4]")
    said = refused(*run, "latent.shape=[4,4]")
    assert "generator: 'flat/flat' cannot take inputs of shape (4, 4)" in said
    assert say(*run, "latent.shape=[4]").code == 0


@pytest.mark.usefixtures("plugins")
def test_a_plugin_that_is_needed_and_not_ready_has_exit_code_3(refused: Refused, say: Say) -> None:
    said = refused("run", "--plugin", "sketch", code=3)
    assert "plugin 'sketch' (x-sketch 1.0) is broken: ModuleNotFoundError" in said
    assert "ganvae plugins info sketch --traceback" in said
    assert "sketch" in refused(*VAE, "prior=sketch/any", code=3)
    assert "cannot be imported" in refused("run", "--plugin", "vae", "generator=lost", code=3)
    assert "is disabled" in refused("--disable-plugin", "dcgan", "run", "--plugin", "dcgan", code=3)
    assert say(*VAE, "--quiet").code == 0


@pytest.mark.usefixtures("plugins")
def test_a_run_that_needs_a_plugin_that_has_gone_says_which(say: Say, refused: Refused) -> None:
    say(
        "run",
        "--plugin",
        "vae",
        *SMALL,
        "engine.steps=2",
        "generator=flat",
        "encoder.hidden=[4]",
        "--out",
        "run",
    )
    said = refused("--disable-plugin", "flat", "sample", "run", code=3)
    assert "plugin 'flat' (x-flat 1.0) is disabled" in said


# Signals


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_while_training_saves_the_run_and_says_how_to_go_on(
    sent: signal.Signals, code: int, folder: Path, done: Say
) -> None:
    words = [*LONG, "engine.steps=1000000", "engine.checkpoint_every=1000000", "--out", "run"]
    process = Warm("ganvae_core", words)
    try:
        deadline = time.monotonic() + 600
        while not (folder / "run" / "metrics.jsonl").exists():
            assert process.running(), process.done()
            assert time.monotonic() < deadline, "training has not begun"
            time.sleep(0.02)
        process.send_signal(sent)
        outcome = process.done()
    finally:
        process.kill()
    err = outcome.err
    assert (outcome.code, outcome.out) == (code, ""), err
    *_, stopped, go_on = err.splitlines()
    step = int(
        stopped.removeprefix("stopped at step ").partition(" of 1,000,000; saved.")[0].replace(",", "")
    )
    assert go_on == "go on:  ganvae run --resume run"
    assert "error" not in err
    assert "Traceback" not in err
    assert [path.name for path in (folder / "run" / "checkpoints").iterdir()] == [f"step-{step:06d}"]
    assert not list(folder.rglob(".*"))

    going_on = done("run", "--resume", "run", "--steps", step + 2)
    assert f"from step {step:,}" in going_on.err
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, step + 3))


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (2, ["stopped at step 3 of 9; saved up to step 2.", "go on:  ganvae run --resume run"]),
        (9, ["stopped at step 3 of 9; nothing was saved."]),
    ],
)
def test_a_second_interrupt_ends_at_once_and_says_what_is_saved(
    every: int, expected: list[str], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt_twice(self: Progress, engine: object, record: dict[str, int]) -> None:
        if record["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "on_step", interrupt_twice)
    outcome = say(*LONG, "engine.steps=9", f"engine.checkpoint_every={every}", "--out", "run")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-len(expected) :] == expected
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("at", "where"), [(3, "step 3 of 5, after stage 1 of 2"), (4, "step 4 of 5, in stage 2 of 2")]
)
def test_a_stop_names_the_steps_of_all_stages(
    at: int, where: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zuko")

    def interrupt(self: Progress, engine: object, record: dict[str, int]) -> None:
        if record["step"] == at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "on_step", interrupt)
    outcome = say("run", "--plugin", "ae", "--recipe", "flow", *SMALL, "engine.steps=3",
                  "stages=[{objective: prior-likelihood, steps: 2, train: [prior]}]", "--out", "run")  # fmt: skip
    assert outcome.code == 130, outcome.err
    assert outcome.err.splitlines()[-2:] == [f"stopped at {where}; saved.", "go on:  ganvae run --resume run"]


def test_a_stop_before_the_prior_is_fitted_says_so(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Progress, engine: object, record: dict[str, int]) -> None:
        if record["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "on_step", interrupt)
    outcome = say("run", "--plugin", "ae", *SMALL, "engine.steps=3", "--out", "run")
    assert outcome.code == 130, outcome.err
    assert "stopped at step 3 of 3, before the prior is fitted; saved." in outcome.err


def test_what_is_said_to_be_saved_is_whole(folder: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage_and_interrupt_twice(self: Progress, engine: object, record: dict[str, int]) -> None:
        if record["step"] == 3:
            (folder / "run" / "checkpoints" / "step-000002" / "manifest.json").write_text("{")
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "on_step", damage_and_interrupt_twice)
    outcome = say(*LONG, "engine.steps=9", "engine.checkpoint_every=1", "--out", "run")
    assert "stopped at step 3 of 9; saved up to step 1." in outcome.err.splitlines()
    assert how_to_go_on(folder / "run") == ["saved up to step 1", f"go on:  ganvae run --resume {folder}/run"]


def test_an_interrupt_after_the_last_step_changes_nothing(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = Progress.on_end

    def interrupt(self: Progress, engine: Any) -> None:
        ending(self, engine)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Progress, "on_end", interrupt)
    outcome = say(*VAE, "--out", "run")
    assert (outcome.code, outcome.out) == (0, "run\n")


def test_an_interrupt_while_sampling_leaves_nothing_behind(
    vae: Path, folder: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganvae_core.runs import loading

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    before = files_in(folder)
    monkeypatch.setattr(loading, "sample_rows", interrupted)
    outcome = say("sample", vae, "-o", "made.png")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (130, "", "stopped.")
    assert files_in(folder) == before
