"""What ``ganvae plugins new`` writes is a plugin at once: it passes the tools and its own tests, and trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ganvae_kit.scaffold import NEW_KINDS, write_plugin
from real_environment import RealEnvironment
from warm import warm

from ganvae_core.errors import ConfigurationError
from ganvae_core.plugins import KnownPlugin, registry

NAMES = ("q", "two-words", "a" * 30)
"""Short, usual and long: lines that hold the name fit with each."""


def written(folder: Path, name: str = "acme", kind: str = "objective", **known: KnownPlugin) -> Path:
    return write_plugin(name, kind, folder / f"{name}-{kind}", {**registry(), **known})


def tool(*command: object, folder: Path) -> str:
    """What a tool says, which must be content."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", NEW_KINDS)
def test_a_distribution_is_complete(kind: str, tmp_path: Path) -> None:
    folder = written(tmp_path, "two-words", kind)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    package = "src/ganvae_two_words"
    assert files == {
        "pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github/workflows/tests.yml",
        f"{package}/__init__.py", f"{package}/py.typed", f"{package}/plugin.py", f"{package}/{kind}.py",
        f"{package}/recipes/two-words.yaml", "tests/test_conformance.py", f"tests/test_{kind}.py",
        *([f"{package}/data.py"] if kind == "view" else []),
    }  # fmt: skip
    for path in files:
        assert "$" not in (folder / path).read_text().replace("${{ matrix.python }}", ""), path


def test_every_kind_with_every_name_passes_ruff(tmp_path: Path) -> None:
    for name in NAMES:
        for kind in NEW_KINDS:
            written(tmp_path, name, kind)
    tool("ruff", "check", "--no-cache", ".", folder=tmp_path)
    tool("ruff", "format", "--no-cache", "--check", ".", folder=tmp_path)


def test_every_kind_passes_pyright(tmp_path: Path) -> None:
    folders = [written(tmp_path, f"new-{kind}", kind) for kind in NEW_KINDS]
    # One project of all of them, with the settings that each of them has: pyright takes seconds to start.
    settings = {
        "include": [f"{folder.name}/{part}" for folder in folders for part in ("src", "tests")],
        "extraPaths": [*(f"{folder.name}/src" for folder in folders), *sys.path],
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    said = tool("pyright", "--pythonpath", sys.executable, folder=tmp_path)
    assert "0 errors, 0 warnings" in said


@pytest.fixture(scope="module")
def new_plugins(real_environment: RealEnvironment) -> RealEnvironment:
    """An environment in which a new plugin of each kind is installed, editable, as its author would."""
    for kind in NEW_KINDS:
        done = real_environment.ganvae("plugins", "new", f"new-{kind}", "--kind", kind)
        assert (done.code, done.out) == (0, f"ganvae-new-{kind}\n"), done.err
    folders = [word for kind in NEW_KINDS for word in ("-e", f"ganvae-new-{kind}")]
    done = real_environment.run(
        real_environment.python, "-m", "pip", "install", "--quiet", "--no-deps", *folders
    )
    assert done.code == 0, done.err
    return real_environment


def test_every_kind_passes_its_own_tests_and_the_conformance_kit(new_plugins: RealEnvironment) -> None:
    # One process for all: starting pytest takes longer than the tests. Files of one name are in several folders.
    tests = [f"ganvae-new-{kind}/tests" for kind in NEW_KINDS]
    done = new_plugins.warm(
        "pytest", "-q", "-rA", "-W", "error", "--import-mode=importlib", "--rootdir=.", *tests
    )
    assert done.code == 0, done.out
    for kind in NEW_KINDS:
        assert f"PASSED ganvae-new-{kind}/tests/test_conformance.py::TestNew{kind.capitalize()}::" in done.out
        assert f"PASSED ganvae-new-{kind}/tests/test_{kind}.py::" in done.out


def test_tests_of_every_kind_survive_another_name_of_the_class(tmp_path: Path) -> None:
    folders = [written(tmp_path, f"renamed-{kind}", kind) for kind in NEW_KINDS]
    for folder, kind in zip(folders, NEW_KINDS, strict=True):
        for file in (folder / "src").rglob("*.py"):
            text = file.read_text("utf-8")
            file.write_text(text.replace(f"Renamed{kind.capitalize()}", "Other"), "utf-8")
    path = " ".join(str(folder / "src") for folder in folders)
    tests = [folder / "tests" / f"test_{kind}.py" for folder, kind in zip(folders, NEW_KINDS, strict=True)]
    arguments = ("-q", "-W", "error", "-p", "no:cacheprovider", "-o", f"pythonpath={path}", *tests)
    done = warm("pytest", *arguments, folder=tmp_path)
    assert done.code == 0, done.out + done.err


TRAIN_AND_SAMPLE = """
import sys
from ganvae_core.cli import main
for kind in sys.argv[1:]:  # in one process: torch takes longer to import than these to train
    assert main(["run", "--plugin", f"new-{kind}", "--steps", "3", "--out", f"run-{kind}", "--quiet"]) == 0, kind
    assert main(["sample", f"run-{kind}", "-n", "4", "-o", f"{kind}.npz"]) == 0, kind
"""


def test_every_kind_trains_and_samples(new_plugins: RealEnvironment) -> None:
    done = new_plugins.warm("", *NEW_KINDS, code=TRAIN_AND_SAMPLE)
    assert done.code == 0, done.err
    assert done.out.split() == [word for kind in NEW_KINDS for word in (f"run-{kind}", f"{kind}.npz")]
    for kind in NEW_KINDS:
        assert f"new-{kind}/new-{kind}" in (new_plugins.folder / f"run-{kind}/config.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My_Loss", "did you mean 'my-loss'?"),
        ("MyLoss", "did you mean 'my-loss'?"),
        ("my loss", "did you mean 'my-loss'?"),
        ("-loss", "did you mean 'loss'?"),
        ("2d-ring", "lower-case letters"),
        ("", "lower-case letters"),
        ("../loss", "did you mean 'loss'?"),
        ("ganvae-loss", "did you mean 'loss'?"),
        ("core", "there is a package 'ganvae_core' already"),
        ("audio", "there is a package 'ganvae_audio' already"),
        ("vae", "that of a plugin of ganvae"),
        ("builtin", "that of a plugin of ganvae"),
        ("swae", "that of a plugin of ganvae-swae"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, expected: str, tmp_path: Path) -> None:
    swae = KnownPlugin("swae", "ganvae-swae", "", "", "pip install ganvae-swae", (), ())
    with pytest.raises(ConfigurationError) as caught:
        written(tmp_path, name, swae=swae)
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_installed_is_refused(new_plugins: RealEnvironment) -> None:
    done = new_plugins.ganvae("plugins", "new", "new-prior", "--out", "elsewhere")
    assert done.code == 2
    assert done.err.startswith("error: the name 'new-prior' is that of a plugin of ganvae-new-prior;")
    assert not (new_plugins.folder / "elsewhere").exists()


@pytest.mark.parametrize("there", ["a folder with something in it", "a file"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    taken = tmp_path / "acme-objective"
    if there == "a file":
        taken.write_text("mine")
    else:
        taken.mkdir()
        (taken / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already, and nothing is overwritten"):
        written(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in (
        ["acme-objective"],
        ["notes.txt"],
    )


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "acme-objective").mkdir()
    assert (written(tmp_path) / "pyproject.toml").is_file()


def test_a_folder_that_cannot_be_made_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_plugin("acme", "prior", tmp_path / "file" / "acme", registry())


def test_what_to_do_next_is_three_commands(real_environment: RealEnvironment) -> None:
    done = real_environment.ganvae("plugins", "new", "next", "--out", "a folder/next")
    assert done.out == "a folder/next\n"
    assert done.err.splitlines()[-3:] == [
        "next:  ganvae plugins install -e 'a folder/next'",
        "       ganvae plugins check next",
        "       ganvae run --plugin next",
    ]


def test_an_unknown_kind_is_refused_with_those_that_there_are(real_environment: RealEnvironment) -> None:
    for kind in ("priors", "schedule"):
        done = real_environment.ganvae("plugins", "new", "kindless", "--kind", kind)
        assert (done.code, done.out) == (2, "")
        assert f"'{kind}' is not one of 'objective', 'generator', 'encoder', 'critic', 'prior'" in done.err
