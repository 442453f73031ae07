"""A run directory that somebody else made runs nothing, imports nothing, and reaches nothing outside of itself."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from command_line import Outcome, Say, files_in

from ganvae_core.store.manifests import manifest_text

EveryVerb = Callable[[Path], list[Outcome]]


class Malicious:
    """Whoever unpickles it makes a file."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trap),)


def malicious_pickle(trap: Path, form: str) -> bytes:
    if form == "pickle":
        return pickle.dumps(Malicious(trap))
    if form == "old pickle":
        return pickle.dumps(Malicious(trap), protocol=0)
    written = io.BytesIO()
    torch.save({"weights": Malicious(trap)}, written, _use_new_zipfile_serialization=form == "torch.save")
    return written.getvalue()


FORMS = ("pickle", "old pickle", "torch.save", "old torch.save")


def test_the_trap_works(trap: Path) -> None:
    pickle.loads(malicious_pickle(trap, "pickle"))
    assert trap.exists()


def vouch(checkpoint: Path, **changes: Any) -> None:
    """Make the manifest say that the files are as they were written."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    for name in ("model.safetensors", "state.safetensors"):
        manifest["sha256"][name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    (checkpoint / "manifest.json").write_text(manifest_text(manifest | changes))


YAML_TAGS = (
    "!!python/object/apply:os.mkdir ['{trap}']",
    "!!python/object/new:os.mkdir ['{trap}']",
    "!!python/name:os.mkdir",
    "!!python/module:antigravity",
    "!!python/object:os.system {{}}",
    "[!!python/object/apply:os.mkdir ['{trap}']]",
    "&a [*a, *a]",
    "'${{oc.env:HOME}}'",
    "'${{oc.create:{{_target_: os.mkdir}}}}'",
)


@pytest.mark.parametrize("value", YAML_TAGS)
@pytest.mark.parametrize("key", ["seed", "whole"])
def test_yaml_that_would_build_objects_builds_none(
    value: str, key: str, run: Path, trap: Path, every_verb: EveryVerb
) -> None:
    config = run / "config.yaml"
    text, hostile = config.read_text(), value.format(trap=trap)
    lines = [
        f"  {key}: {hostile}" if line.strip().startswith(f"{key}:") else line for line in text.splitlines()
    ]
    config.write_text(hostile if key == "whole" else "\n".join(lines))
    assert config.read_text() != text
    every_verb(run)
    assert not trap.exists()
    assert "antigravity" not in sys.modules


DOTTED = (
    ("objective", "os.mkdir"), ("objective", "os:mkdir"), ("generator", "posix/mkdir"), ("generator", "../../evil"),
    ("callbacks", ["subprocess.Popen"]), ("metrics", [{"name": "os:system"}]), ("plugin", "os"), ("recipe", "../../x"),
    ("prior", {"_target_": "os.mkdir", "path": "x"}), ("data", {"name": "ganvae_core.cli:main"}),
    ("encoder", {"name": "builtin/mlp", "target": "os:mkdir"}),
)  # fmt: skip


@pytest.mark.parametrize(("key", "value"), DOTTED, ids=str)
def test_names_of_modules_in_a_configuration_import_nothing(
    key: str, value: Any, run: Path, every_verb: EveryVerb, tmp_path: Path
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {key: value}))
    before = {path.name for path in tmp_path.parent.iterdir()}
    modules = set(sys.modules)
    every_verb(run)
    assert {path.name for path in tmp_path.parent.iterdir()} == before
    assert not {name for name in set(sys.modules) - modules if not name.startswith(("ganvae", "matplotlib", "PIL"))
                and "evil" in name}  # fmt: skip


@pytest.mark.parametrize("form", ["pickle", "torch.save"])
@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "manifest.json", "data.json", "config.yaml",
                                  "metrics.jsonl", "plugins.lock.toml"])  # fmt: skip
def test_a_pickle_under_any_name_is_not_unpickled(
    name: str, form: str, run: Path, trap: Path, every_verb: EveryVerb
) -> None:
    for checkpoint in (run / "checkpoints").iterdir():
        target = checkpoint / name if (checkpoint / name).exists() else run / name
        target.write_bytes(malicious_pickle(trap, form))
        if target.parent == checkpoint and name != "manifest.json":
            vouch(checkpoint)
    every_verb(run)
    assert not trap.exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_handed_in_is_refused_with_the_reason(
    form: str, run: Path, trap: Path, say: Say, tmp_path: Path
) -> None:
    file = tmp_path / "handed.pt"
    file.write_bytes(malicious_pickle(trap, form))
    before = files_in(tmp_path)
    for words in (
        ("run", "--plugin", "vae", "--data", file), ("run", "--plugin", "vae", "--config", file),
        ("run", "--plugin", "vae", "data=array", f"data.path={file}"), ("run", "--resume", file), ("sample", file),
        ("reconstruct", run, "--data", file), ("encode", run, "--data", file), ("show", file), ("data", file),
        ("run", "--plugin", "vae", "data=folder", f"data.path={file}", "data.resize=8"),
    ):  # fmt: skip
        outcome = say(*words)
        assert outcome.code == 2, words
        if "data=folder" not in words:
            assert (
                "is a pickle, which can run any code when it is read, so ganvae reads none" in outcome.err
            ), words
    assert files_in(tmp_path) == before
    assert not trap.exists()


@pytest.mark.parametrize("form", ["pickle", "torch.save", "old torch.save"])
def test_a_pickle_by_another_name_is_refused_and_not_unpickled(
    form: str, trap: Path, say: Say, tmp_path: Path
) -> None:
    file = tmp_path / "x.npy"
    file.write_bytes(malicious_pickle(trap, form))
    assert say("run", "--plugin", "vae", "--data", file).code == 2
    assert not trap.exists()


def test_modules_that_lie_in_a_run_are_not_imported(run: Path, trap: Path) -> None:
    for name in ("torch", "yaml", "numpy", "ganvae_vae", "sitecustomize", "json", "encodings"):
        (run / f"{name}.py").write_text(f"import os\nos.mkdir({str(trap)!r})\n")
    done = subprocess.run([sys.executable, "-m", "ganvae_core", "sample", ".", "-n", "2"], cwd=run,
                          capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not trap.exists()


# Paths


def test_a_manifest_that_names_files_elsewhere_is_refused(run: Path, say: Say, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    for name in ("../../../secret", str(secret), "model.safetensors/../../../../secret"):
        for checkpoint in (run / "checkpoints").iterdir():
            manifest = json.loads((checkpoint / "manifest.json").read_text())
            (checkpoint / "manifest.json").write_text(manifest_text(manifest | {"sha256": {name: digest}}))
        outcome = say("sample", run, "-n", "2")
        assert outcome.code == 2
        assert "it names other files than" in outcome.err


def test_a_manifest_whose_step_is_elsewhere_is_refused(run: Path, say: Say) -> None:
    for checkpoint in (run / "checkpoints").iterdir():
        vouch(checkpoint, step=1000)
    assert "it is that of step 1,000" in say("run", "--resume", run, "--steps", "2000").err


@pytest.mark.parametrize("name", ["checkpoints", "samples", "checkpoints/step-000002"])
def test_a_part_of_a_run_may_lie_elsewhere(name: str, run: Path, say: Say, tmp_path: Path) -> None:
    """Checkpoints on another disk, say. A link to a checkpoint is removed with it; the folder that it names stays."""
    shutil.move(run / name, tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    outcome = say("run", "--resume", run, "--steps", "6", "engine.keep_checkpoints=1")
    assert outcome.code == 0
    assert say("sample", run, "-n", "2").code == 0
    assert list((tmp_path / "elsewhere").iterdir())
    assert not list(run.rglob(".*"))


def test_a_link_to_a_whole_run_is_as_good_as_the_run(run: Path, say: Say, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    assert say("run", "--resume", tmp_path / "link", "--steps", "6").code == 0


@pytest.mark.parametrize("member", ["../../outside.npy", "/outside.npy", "a/../../outside.npy"])
def test_names_in_an_archive_lead_nowhere(
    member: str, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    values = io.BytesIO()
    np.save(values, np.zeros((20, 8, 8), np.uint8))
    with zipfile.ZipFile(inner / "x.npz", "w") as archive:
        archive.writestr(member, values.getvalue())
    say("data", inner / "x.npz")
    say(
        "run",
        "--plugin",
        "vae",
        "--data",
        inner / "x.npz",
        "--steps",
        "1",
        "generator.hidden=[4]",
        "--out",
        "run",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inner"]


# JSON and YAML that are not what a run writes


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)
STRANGE: dict[str, tuple[str, str]] = {
    "a deep configuration": ("config.yaml", "a: " + "[" * 20_000),
    "a deep list in a configuration": ("config.yaml", "a: " + "[" * 5_000 + "]" * 5_000),
    "a configuration of aliases": ("config.yaml", BOMB),
    "deep data": ("data.json", "[" * 100_000 + "]" * 100_000),
    "deep metrics": ("metrics.jsonl", "[" * 100_000 + "]" * 100_000),
    "deep versions": ("plugins.lock.toml", "x = " + "[" * 20_000),
    "a list for a distribution": (
        "plugins.lock.toml",
        '[plugins.acme]\ndistribution = ["x"]\nversion = "1"\n',
    ),
    "numbers of many digits": ("data.json", '{"spec": ' + "9" * 10_000 + "}"),
    "metrics of many digits": ("metrics.jsonl", '{"step": ' + "9" * 10_000 + "}"),
    "metrics that are no numbers": (
        "metrics.jsonl",
        '{"step": 4, "elbo/loss": "x", "samples_per_second": [1]}',
    ),
    "metrics beyond all numbers": ("metrics.jsonl", '{"step": 4, "elbo/loss": 1e999, "elbo/kl": -Infinity}'),
}


@pytest.mark.parametrize("what", list(STRANGE))
def test_strange_files_are_answered_and_not_followed(what: str, run: Path, every_verb: EveryVerb) -> None:
    name, text = STRANGE[what]
    (run / name).write_text(text)
    every_verb(run)


@pytest.mark.parametrize("key", ["distribution", "version"])
def test_no_command_to_copy_holds_what_a_shell_would_run(key: str, run: Path, every_verb: EveryVerb) -> None:
    entry = {"distribution": "x", "version": "1", key: "x'; rm -rf ~ #"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in entry.items()]
    (run / "plugins.lock.toml").write_text("\n".join(["[plugins.acme]", *lines]))
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"prior": {"name": "acme/flat"}}))
    for outcome in every_verb(run):
        assert not any("plugins install" in line and "rm" in line for line in outcome.err.splitlines())


FIELD = {"name": "a", "kind": "number", "start": 0, "width": 10**12, "categories": []}
SPECS: dict[str, Any] = {
    "shape": [[10**12], [-1], [], ["x"], [[1]], "8", None, [0], [8, 8], [1, 8, 9]],
    "range": [[1], ["a", "b"], [1, 0], "x", [None, None], [0, 0]],
    "modality": ["evil", 3, None, "table"],
    "condition": [[10**12], [3], "x"],
    "count": [-1, "x", 10**30, None],
    "fields": [["a"], "abc", 3, [{"name": "a"}], [FIELD], [FIELD | {"width": "x"}], [FIELD | {"categories": 3}]],
    "classes": [["a"], 3, [[1]]],
    "units": [{}, None, {"offset": [0.0], "scale": [0.0], "dtype": "uint8", "constant": []},
              {"offset": [0.0], "scale": [1.0], "dtype": "object", "constant": []},
              {"offset": [0.0], "scale": [1.0], "dtype": "os.system", "constant": []},
              {"offset": [0.0], "scale": [1.0], "dtype": "uint8", "constant": [10**9]}],
}  # fmt: skip


@pytest.mark.parametrize("key", list(SPECS))
def test_a_specification_that_is_none_is_refused(key: str, run: Path, say: Say) -> None:
    record = json.loads((run / "data.json").read_text())
    for value in SPECS[key]:
        changed = json.loads(json.dumps(record))
        for spec in ("spec", "source_spec"):
            changed[spec] |= {key: value}
        (run / "data.json").write_text(json.dumps(changed))
        say("show", run)
        say("sample", run, "-n", "2", "-o", "made.npz")
