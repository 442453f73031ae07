"""``runs``, ``show``, ``data`` and ``doctor`` say what there is, also of what is damaged."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image

import ganvae_core as gv
from ganvae_core.cli.frame import Settings
from ganvae_core.cli.main import ganvae, main
from ganvae_core.cli.run_files import last_record
from ganvae_core.cli.runs_verbs import moment
from ganvae_core.engine import devices
from ganvae_core.errors import setting
from ganvae_core.plugins import Catalogue, Plugin
from ganvae_core.store.directory import RunDirectory
from ganvae_core.store.manifests import best_step, checkpoint_folders, manifest_text, manifests_in

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command line; gives the exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small VAE, trained on digits, in a folder of runs."""
    out = tmp_path_factory.mktemp("trained") / "runs" / "vae-digits-1"
    gv.train(
        "vae",
        steps=6,
        overrides={
            "engine.log_every": 2,
            "engine.checkpoint_every": 2,
            "engine.batch_size": 32,
            "engine.device": "cpu",
            "generator.hidden": [8],
            "encoder.hidden": [8],
        },
        out=out,
    )
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be changed by one test."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


def change_config(run: Path, key: str, **values: Any) -> None:
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config[key] |= values
    path.write_text(yaml.safe_dump(config))


def change_manifest(run: Path, step: int, **values: Any) -> None:
    path = run / "checkpoints" / f"step-{step:06d}" / "manifest.json"
    path.write_text(manifest_text(json.loads(path.read_text()) | values))


def test_runs_has_a_line_for_each_run_and_says_what_to_do_next(run: Path, say: Say) -> None:
    code, out, err = say("runs", run.parent)
    header, line = out.splitlines()
    assert code == 0
    assert header.split() == ["run", "recipe", "data", "steps", "held", "out", "changed"]
    assert line.startswith(f"{run}   vae      digits   6 of 6   ELBO −")
    assert err == f"next:  ganvae show {run}\n"


def test_runs_as_json_is_one_array_and_nothing_else(run: Path, say: Say) -> None:
    code, out, err = say("runs", run.parent, "--json")
    (listed,) = json.loads(out)
    assert (code, err) == (0, "")
    assert (listed["run"], listed["step"], listed["steps"]) == (str(run), 6, 6)
    assert (listed["plugin"], listed["data"], listed["problem"]) == ("vae", "digits", "")
    assert listed["results"]["elbo_nats"] < 0


@pytest.mark.parametrize("verb", ["runs", "show"])
def test_looking_at_runs_imports_little(verb: str, trained: Path) -> None:
    script = """
import sys
from ganvae_core.cli import main
assert main(sys.argv[1:]) == 0
print(*{name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)
"""
    where = trained.parent if verb == "runs" else trained
    finished = subprocess.run(
        [sys.executable, "-c", script, verb, str(where)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    loaded = {name for name in finished.stdout.splitlines()[-1].split() if not name.startswith("_")}
    assert loaded <= {"ganvae_core", "click", "pluggy", "yaml", "cython_runtime", "filelock", "packaging"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"engine: [1, 2", "config.yaml, line "),
        (b"plugin: vae\nrecipe: vae\ndata: {name: builtin/digits}\n", "'engine.steps' is missing or wrong"),
        (b"just text", "'plugin' is missing or wrong"),
        (b"", "'plugin' is missing or wrong"),
        (b"plugin: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        (b"plugin: 2024-13-45\n", "is not YAML: month must be in 1..12"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_run_with_a_damaged_configuration_is_listed_with_the_reason(
    text: bytes, reason: str, run: Path, say: Say
) -> None:
    damaged = run.parent / "a-damaged-one"
    damaged.mkdir()
    (damaged / "config.yaml").write_bytes(text)
    code, out, err = say("runs", run.parent)
    (line,) = [line for line in out.splitlines() if line.startswith(str(damaged))]
    assert code == 0
    assert "   damaged   " in line
    assert reason in line
    assert len(out.splitlines()) == 3
    assert err == f"next:  ganvae show {run}\n"  # not the damaged one

    code, out, err = say("show", damaged)
    assert (code, out) == (2, "")
    assert reason in err.splitlines()[0]


def test_what_was_logged_after_the_last_checkpoint_counts_and_a_cut_line_does_not(
    run: Path, say: Say
) -> None:
    change_config(run, "engine", steps=8000)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1240, "elbo/loss": 17.9}\n{"step": 9999, "elb')
    assert "1,240 of 8,000" in say("runs", run.parent)[1]


def test_the_last_line_of_a_long_log_is_found(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps({"step": step, "critic/loss": 0.5}) + "\n" for step in range(7, 3000))
    assert last_record(RunDirectory(run))["step"] == 2999


def test_before_the_first_run_it_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    assert say("runs") == (0, "", "there are no runs in 'runs' yet\nmake one:  ganvae run --plugin vae\n")
    assert say("runs", "--json") == (0, "[]\n", "")
    assert say("runs", tmp_path)[:2] == (0, "")


def test_a_folder_of_runs_that_is_not_there_is_an_error(tmp_path: Path, say: Say) -> None:
    code, out, err = say("runs", tmp_path / "rusn")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: there is no folder '{tmp_path / 'rusn'}'.\n  ganvae run --plugin vae")


def test_runs_in_a_run_says_that_it_is_one(run: Path, say: Say) -> None:
    assert say("runs", run) == (0, "", f"'{run}' is a run itself:  ganvae show {run}\n")


def test_the_time_of_the_last_change_is_short() -> None:
    then = datetime(2025, 3, 7, 9, 5)
    assert moment(then, datetime(2025, 12, 31)) == f"07 {then:%b} 09:05"
    assert moment(then, datetime(2026, 1, 1)) == f"07 {then:%b} 2025"


def test_a_path_with_spaces_can_be_typed_as_it_is_suggested(run: Path, say: Say) -> None:
    spaced = run.rename(run.parent / "my run")
    assert say("runs", run.parent)[2] == f"next:  ganvae show '{spaced}'\n"


def test_show_says_what_was_trained_on_what_with_which_result(run: Path, say: Say) -> None:
    code, out, err = say("show", run)
    lines = out.splitlines()
    facts = {line[2:20].strip(): line[20:] for line in lines[1:]}
    assert code == 0
    assert lines[0] == f"{run}   vae on digits   finished: 6 steps"
    assert facts["data"] == "builtin/digits"
    assert "1,617 images of 8 × 8 to learn from, 180 held out" in out
    assert facts["classes"] == "10, not used for training"
    assert facts["generator"] == "builtin/auto, hidden [8], blocks 0 (MLPGenerator)"
    assert facts["objective"] == "vae/elbo, beta 1, free_bits 0, reference prior"
    assert facts["optimizer"] == "builtin/adam, lr 0.001, betas [0.9, 0.999], eps 1e-08"
    assert facts["engine"].startswith("steps 6, batch_size 32, seed 0, device cpu")
    assert "ema_half_life" not in out
    assert facts["held out"].startswith("ELBO −")
    assert facts["logged last"].startswith("elbo: loss ")
    assert " nats · reconstruction " in facts["logged last"]
    assert "gradient norm" in facts["logged last"]
    assert f"torch {torch.__version__}" in facts["made with"]
    assert facts["samples"] == str(run / "samples" / "step-000006.png")
    assert facts["reconstructions"] == str(run / "reconstructions" / "step-000006.png")
    assert facts["losses"] == str(run / "losses.png")
    assert err == f"next:  ganvae sample {run} -n 100\n"


def test_losses_have_a_true_minus_and_no_distances_of_samples_beside_them() -> None:
    from ganvae_core.cli.progress import main_terms
    from ganvae_core.cli.runs_verbs import logged

    record = {"samples/spread": 1.04, "elbo/loss": -26.99, "elbo/kl": 6.3, "samples_per_second": 1234.5}
    assert main_terms(record, in_nats=True) == "loss −26.99 nats · KL 6.3"
    assert logged(record) == ["elbo: loss −26.99 nats · kl 6.3 nats", "1,234 rows/s"]


def test_show_marks_the_best_checkpoint_and_the_damaged_one(run: Path, say: Say) -> None:
    change_manifest(run, 4, results={"elbo_nats": -1.0}, judged=-1.0)
    assert "  step 4 (best) · 6\n" in say("show", run)[1]
    (run / "checkpoints" / "step-000004" / "manifest.json").write_text('{"step"')
    assert "  step 4 (damaged) · 6 (best)\n" in say("show", run)[1]


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_best_checkpoint_is_the_one_that_the_engine_keeps(better: str, run: Path) -> None:
    change_manifest(run, 4, results={"x": 1.0}, judged=None, judged_by="x", better=better)
    change_manifest(run, 6, results={"x": 2.0}, judged=None, judged_by="x", better=better)
    best = checkpoint_folders(run / "checkpoints")[best_step(manifests_in(run / "checkpoints")) or 0]
    assert best is not None
    assert best.name == ("step-000006" if better == "higher" else "step-000004")


def test_the_newest_checkpoint_is_told_by_its_number(run: Path) -> None:
    million = run / "checkpoints" / "step-1000000"
    shutil.copytree(run / "checkpoints" / "step-000006", million)
    manifest = json.loads((million / "manifest.json").read_text())
    (million / "manifest.json").write_text(
        manifest_text(manifest | {"step": 1_000_000, "results": {"x": 3.0}})
    )
    assert list(RunDirectory(run).manifests()) == [4, 6, 1_000_000]
    assert RunDirectory(run).newest_results() == {"x": 3.0}


def test_an_unfinished_run_can_be_gone_on_with(run: Path, say: Say) -> None:
    change_config(run, "engine", steps=100)
    newest = run / "checkpoints/step-000006/manifest.json"
    newest.write_text(json.dumps(json.loads(newest.read_text()) | {"complete": False}))
    _, out, err = say("show", run)
    assert "unfinished: 6 of 100 steps" in out.splitlines()[0]
    assert err.splitlines()[0] == f"go on:  ganvae run --resume {run}"


def test_a_run_without_a_checkpoint_offers_neither_samples_nor_resuming(run: Path, say: Say) -> None:
    shutil.rmtree(run / "checkpoints")
    code, out, err = say("show", run)
    told = "it has no checkpoint: it is training, was stopped before its first one, or they were deleted\n"
    assert (code, err) == (0, told)
    assert "checkpoints" not in out


@pytest.mark.parametrize("name", ["data.json", "plugins.lock.toml"])
@pytest.mark.parametrize("text", [None, "{} = ["])
def test_show_says_which_file_is_missing_or_damaged_and_the_rest_besides(
    name: str, text: str | None, run: Path, say: Say
) -> None:
    (run / name).unlink() if text is None else (run / name).write_text(text)
    code, out, _ = say("show", run)
    assert code == 0
    assert str(run / name) in out
    assert "builtin/auto, hidden [8]" in out
    shown = json.loads(say("show", run, "--json")[1])
    assert shown["data_spec" if name == "data.json" else "versions"] is None


def test_show_names_the_distributions_that_took_part(run: Path, say: Say) -> None:
    with (run / "plugins.lock.toml").open("a") as file:
        file.write('\n[plugins.swae]\ndistribution = "ganvae-swae"\nversion = "0.3.1"\n')
    assert "· ganvae-swae 0.3.1\n" in say("show", run)[1]


def test_the_columns_of_a_table_and_the_file_are_shown(run: Path, say: Say) -> None:
    change_config(run, "data", name="builtin/table", path="/data/wine.csv")
    record = json.loads((run / "data.json").read_text())
    fields = [asdict(gv.Field(name, start=start)) for start, name in enumerate(("acid", "alcohol"))]
    for name in ("spec", "source_spec"):
        record[name].update(shape=[2], modality="table", classes=None, fields=fields)
    record["rows"] = "rows of 2 columns"
    (run / "data.json").write_text(json.dumps(record))
    _, out, _ = say("show", run)
    assert "vae on wine.csv" in out
    assert "builtin/table, path /data/wine.csv\n" in out
    assert "1,617 rows of 2 columns" in out
    assert "acid, alcohol\n" in out


def test_a_result_that_is_no_number_is_null_in_json(run: Path, say: Say) -> None:
    change_manifest(run, 6, results={"elbo_nats": math.nan})
    text = say("show", run, "--json")[1]
    assert json.loads(text)["results"] == {"elbo_nats": None}
    assert "NaN" not in text


def test_show_as_json_holds_everything(run: Path, say: Say) -> None:
    code, out, err = say("show", run, "--json")
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert shown["finished"]
    assert shown["config"]["objective"] == {
        "name": "vae/elbo", "beta": 1.0, "free_bits": 0.0, "capacity": None, "reference": "prior",
    }  # fmt: skip
    assert shown["data_spec"]["spec"]["count"] == 1617
    assert [(one["step"], one["whole"]) for one in shown["checkpoints"]] == [(4, True), (6, True)]
    assert sum(one["best"] for one in shown["checkpoints"]) <= 1
    assert shown["metrics"]["step"] == 6
    assert shown["versions"]["plugins"]["vae"]["distribution"] == "ganvae"
    assert shown["pictures"]["losses"] == str(run / "losses.png")


def test_show_knows_the_newest_pictures_of_every_kind_whoever_drew_them(run: Path, say: Say) -> None:
    for name in ("codes/step-000004-part-2", "codes/step-000006-part-2", "codes/step-000006-part-3", "maps/step-x",
                 "maps/step-1000000", "maps/step-000006", "checkpoints/step-000009"):  # fmt: skip
        (run / f"{name}.png").parent.mkdir(exist_ok=True)
        (run / f"{name}.png").touch()
    shown = json.loads(say("show", run, "--json")[1])["pictures"]
    assert list(shown) == ["samples", "reconstructions", "codes", "maps", "losses"]
    assert shown["samples"] == str(run / "samples" / "step-000006.png")
    assert shown["codes"] == str(run / "codes")  # several of one step
    assert shown["maps"] == str(run / "maps" / "step-1000000.png")


@pytest.mark.parametrize("there", [True, False])
def test_show_on_what_is_no_run_is_an_error(there: bool, tmp_path: Path, say: Say) -> None:
    path = tmp_path if there else tmp_path / "nothing"
    code, out, err = say("show", path)
    assert (code, out) == (2, "")
    assert f"'{path}'" in err
    assert "ganvae runs" in err


def test_data_says_what_the_digits_are(say: Say) -> None:
    code, out, err = say("data", "digits")
    facts = {line[:13].strip(): line[13:] for line in out.splitlines()}
    assert code == 0
    assert facts["source"] == "builtin/digits"
    assert facts["rows"] == "1,797 images of 8 × 8"
    assert facts["split"] == "1,617 to learn from, 180 held out"
    assert facts["values"] == "0 to 16, uint8"
    assert facts["models see"] == "value / 16, within 0 to 1"
    assert facts["classes"].startswith("10: 0 (178) · 1 (182) · ")
    assert facts["size"] == "112.3 KiB"
    assert err.splitlines() == [
        "a preview:  ganvae data digits -o preview.png",
        "next:  ganvae run --plugin vae --data digits",
    ]


@pytest.mark.parametrize(
    ("shape", "recipe"), [((32, 32, 3), "photos"), ((28, 28), "small"), ((64, 64, 3), "small")]
)
def test_data_names_the_recipe_of_sharp_pictures(
    shape: tuple[int, ...], recipe: str, tmp_path: Path, say: Say
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (30, *shape), dtype=np.uint8))
    err = say("data", tmp_path / "x.npy")[2].splitlines()
    assert err[-1].startswith(f"sharper pictures:  ganvae run --plugin dcgan --recipe {recipe} --data ")


def test_data_as_json_is_one_object_and_nothing_else(say: Say) -> None:
    code, out, err = say("data", "digits", "data.held_out=0.5", "--json")
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert (shown["rows"], shown["training"], shown["shape"]) == (1797, 899, [1, 8, 8])
    assert (shown["lowest"], shown["highest"], shown["dtype"]) == (0, 16, "uint8")
    assert sum(shown["classes"].values()) == 1797
    assert shown["bytes"] == 1797 * 64
    assert shown["preview"] is None


def test_a_preview_of_images_is_a_grid_of_32(tmp_path: Path, say: Say) -> None:
    file = tmp_path / "preview.png"
    code, _, err = say("data", "digits", "-o", file)
    assert code == 0
    assert f"preview:  {file}\n" in err
    with Image.open(file) as picture:
        # Eight by four images of eight pixels, enlarged seven times, with two pixels between them.
        assert picture.size == (8 * 58 - 2, 4 * 58 - 2)


def test_the_columns_of_a_table_have_their_kind_values_and_gaps(tmp_path: Path, say: Say) -> None:
    rows = [f"{n * n},{'' if n % 4 == 0 else 'red'},5,p{n}\n" for n in range(40)]
    (tmp_path / "t.csv").write_text("acid,colour,fixed,id\n" + "".join(rows))
    code, out, err = say("data", tmp_path / "t.csv")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["column", "values", "kind", "missing"] in lines
    assert ["acid", "513.5", "on", "average,", "0", "to", "1,521", "whole"] in lines
    assert ["colour", "red", "category", "25", "%"] in lines
    assert ["fixed", "5", "constant"] in lines
    assert "note: column 'fixed' is constant (5)" in err
    assert "note: column 'id' is left out: its values all differ" in err
    assert "data.kinds.id=category" in err
    shown = json.loads(say("data", tmp_path / "t.csv", "--json")[1])
    kinds = {column["column"]: column["kind"] for column in shown["columns"]}
    assert kinds == {
        "acid": "whole", "colour": "category", "fixed": "constant", "id": "identifier, left out",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["sepal.length", "Größe, mm", "BMI>=30", "[x]", "it's"])
def test_settings_of_hints_name_any_column(name: str, tmp_path: Path, say: Say) -> None:
    path = tmp_path / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([[name, "b"], *([at / 7, at % 50] for at in range(99))])
    kinds, drop = setting(f"data.kinds.{name}", "category"), setting("data.drop", [name])
    of_kind, without = (
        json.loads(say("data", path, *shlex.split(each), "--json")[1])["columns"] for each in (kinds, drop)
    )
    assert (of_kind[0]["column"], of_kind[0]["kind"]) == (name, "category")
    assert [column["column"] for column in without] == ["b"]


def test_columns_beyond_the_fortieth_are_counted_and_not_listed(tmp_path: Path, say: Say) -> None:
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(50, 60)))
    _, out, err = say("data", tmp_path / "wide.npy")
    assert "column_39 " in out
    assert "column_40 " not in out
    assert "and 20 more columns; --json lists all" in err


@pytest.mark.parametrize("columns", [2, 3])
def test_points_and_tables_are_drawn(columns: int, tmp_path: Path, say: Say) -> None:
    rows = np.random.default_rng(0).normal(size=(40, columns))
    rows[:, -1] = 1e17  # a constant that a bar of an ordinary width vanishes beside
    np.save(tmp_path / "x.npy", rows)
    code, _, err = say("data", tmp_path / "x.npy", "-o", tmp_path / "x.png")
    assert code == 0, err
    with Image.open(tmp_path / "x.png") as picture:
        assert len(picture.convert("L").getcolors() or ()) > 2


def test_the_options_of_a_source_are_settings_of_data(tmp_path: Path, say: Say) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (20, 30), (200, 10, 10)).save(tmp_path / "photos" / name / "x.png")
    shown = json.loads(say("data", tmp_path / "photos", "data.resize=16", "--json")[1])
    assert shown["shape"] == [3, 16, 16]
    assert shown["classes"] == {"a": 1, "b": 1}
    assert shown["options"]["path"] == str(tmp_path / "photos")


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_counted(tmp_path: Path, say: Say) -> None:
    for name in ("a", "b", "c"):
        Image.new("L", (20, 20)).save(tmp_path / f"{name}.png")
    for name in ("b", "c"):
        (tmp_path / f"{name}.png").write_bytes(b"not an image")
    code, out, err = say("data", tmp_path)
    assert (code, out) == (2, "")
    assert "b.png is not an image" in err
    assert "2 of 3 files" in err


def test_classes_are_counted_when_there_are_too_many_to_list(tmp_path: Path, say: Say) -> None:
    labels = np.r_[np.arange(30), 29, 29]
    np.savez(tmp_path / "x.npz", x=np.zeros((32, 1, 4, 4), np.uint8), labels=labels)
    assert "classes      30, of 1 to 3 rows\n" in say("data", tmp_path / "x.npz")[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["digist"], "there is no source and no file 'digist'. Did you mean 'digits'?"),
        (["digits", "data.bogus=1"], "data.bogus: 'builtin/digits' has no option 'bogus'."),
        (
            ["digits", "data.held_out=lots"],
            "data.held_out: 'lots' is not possible here: it must be a number.",
        ),
        (["digits", "engine.steps=3"], "'engine.steps' is not a setting of data"),
        (["x.csv", "label=y"], "did you mean data.label=y?"),
        (["digits", "photos"], "'photos' is not a setting"),
        (["missing.npy"], "missing.npy"),
        (["digits", "-o", "preview.jpg"], "-o preview.jpg: a preview is a .png file."),
        (["digits", "-o", "."], "a preview is a .png file"),
    ],
)
def test_a_mistake_is_said_before_anything_is_written(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = say("data", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert expected in err
    assert not list(tmp_path.iterdir())


def test_data_that_has_no_picture_says_so(tmp_path: Path, say: Say) -> None:
    np.save(tmp_path / "sound.npy", np.zeros((20, 2, 3, 4, 5)))
    assert say("data", tmp_path / "sound.npy")[0] == 0
    code, _, err = say("data", tmp_path / "sound.npy", "-o", tmp_path / "x.png")
    assert code == 2
    assert "there is no picture for rows of shape (2, 3, 4, 5)" in err
    assert not (tmp_path / "x.png").exists()


def test_doctor_says_what_this_machine_has_and_concludes(say: Say) -> None:
    code, out, err = say("doctor")
    assert (code, err) == (0, "")
    assert f"torch         {torch.__version__}\n" in out
    assert f"torch uses {torch.get_num_threads()} thread" in out
    ready = re.search(r"ready: (.*)", out)
    assert ready is not None
    assert {"builtin", "compare", "gan", "kit", "metrics", "vae"} <= set(ready[1].split(", "))
    assert str(Path("runs").absolute()) in out
    assert out.splitlines()[-1].startswith("all is well; training takes ")


def test_doctor_as_json_agrees_with_torch(say: Say) -> None:
    code, out, err = say("doctor", "--json")
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert shown["versions"]["torch"] == torch.__version__
    assert shown["threads"] == torch.get_num_threads()
    assert shown["problems"] == []
    cpu = shown["devices"][-1]
    assert (cpu["name"], cpu["precision"]) == ("cpu", "fp32")
    assert cpu["fast_bf16"] == devices.has_fast_bf16(torch.device("cpu"))
    assert {"ae", "dcgan", "gan", "vae"} <= set(shown["plugins"]["ready"])


@pytest.mark.parametrize("fast", [True, False])
def test_doctor_says_what_auto_takes_on_an_accelerator_and_why(
    fast: bool, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    monkeypatch.setattr(devices, "available_devices", lambda: ["cuda", "cuda:0", "cpu"])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    card = SimpleNamespace(name="Some Card", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    _, out, _ = say("doctor")
    precision, reason = ("bf16", "has it in hardware") if fast else ("fp32", "has no fast bf16")
    (line,) = [line for line in out.splitlines() if line.startswith("cuda:0 ")]
    assert f"Some Card, 80 GiB: --precision auto is {precision}, this device {reason}" in line
    assert f"training takes cuda:0 in {precision}" in out.splitlines()[-1]
    assert "none that torch reports" not in out


def test_doctor_lists_problems_with_the_command_that_tells_more() -> None:
    plugins = (
        Plugin("vae", "ready", "", "ganvae", "1", "x"),
        Plugin("off", "disabled", "switched off", "x-off", "1", "x"),
        Plugin("sketch", "broken", "ImportError: cairo", "x-sketch", "1", "x", traceback="line 7"),
    )
    settings = Settings(catalogue=Catalogue(plugins, unreadable=("x-odd: TypeError",)))
    result = CliRunner().invoke(ganvae, ["doctor"], obj=settings)
    assert result.exit_code == 0, result.output
    assert "broken: sketch" in result.stdout
    assert "disabled: off" in result.stdout
    *_, sketch, odd, last = result.stdout.splitlines()
    assert sketch == (
        "problem: plugin 'sketch' is broken: ImportError: cairo      ganvae plugins info sketch --traceback"
    )
    assert odd == "problem: left out, its entry points cannot be read: x-odd: TypeError"
    assert last.startswith("2 problems above; the rest works, and training takes ")


def test_doctor_answers_where_torch_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, out, _ = say("doctor")
    assert code == 0
    assert "problem: torch cannot be imported: " in out
    assert out.splitlines()[-1].startswith("nothing can be trained without torch")
    assert json.loads(say("doctor", "--json")[1])["devices"] == []
