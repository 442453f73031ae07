"""``ganvae plugins check``: what it prints, its exit code, and plugins that crash or hang."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mutants import PACKAGE, write_project
from warm import ganvae

from ganvae_core.cli import main

LOSS = "        value = ((real_logits - 1).square() + fake_logits.square()).mean()"
ALONE = ("--only", "losses")
"""The loss is evaluated, and not much else is done."""

pytestmark = pytest.mark.usefixtures("projects_removed")

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run ``ganvae plugins check``."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["plugins", "check", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def in_the_loss(folder: Path, line: str) -> tuple[Path, str]:
    """A specimen that does something in its loss, and ``file:line`` of it."""
    project = write_project(folder)
    file = project / "src" / PACKAGE / "objective.py"
    text = file.read_text("utf-8")
    file.write_text(text.replace(LOSS, f"{LOSS}\n        {line}"), "utf-8")
    number = next(
        n for n, other in enumerate(file.read_text("utf-8").splitlines(), 1) if other.strip() == line
    )
    return project, f"{file}:{number}"


def test_a_plugin_that_keeps_its_promises_ends_with_0_and_a_table(say: Say, tmp_path: Path) -> None:
    code, out, err = say(write_project(tmp_path))
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["specimen", "ganvae-specimen", "0.1.0"]
    assert ["passed", "failed", "not", "checked"] in lines
    assert any(line[:1] == ["objective/contrast"] and int(line[1]) > 10 for line in lines)
    *_, passed, left = out.splitlines()
    assert passed.split()[1:3] == ["checks", "passed,"]
    assert re.fullmatch(r"\d+ not checked \(.*\); --all says why", left)


def test_an_installed_plugin_is_checked_by_its_name_and_told_as_json(say: Say) -> None:
    code, out, _ = say("vae", "--json", "--only", "makes", "--only", "configuration")
    told = json.loads(out)
    assert code == 0
    assert told["passed"] is True
    assert {outcome["plugin"] for outcome in told["outcomes"]} == {"vae"}
    checks = {(outcome["subject"], outcome["check"]): outcome["state"] for outcome in told["outcomes"]}
    assert checks["objective/elbo", "makes"] == checks["recipe/vae", "configuration"] == "passed"
    assert ("objective/elbo", "options") in checks, "what a check needs is run before it"
    assert ("objective/elbo", "rows") not in checks


def test_a_failure_names_the_check_what_is_wrong_and_the_line(say: Say, tmp_path: Path) -> None:
    project, place = in_the_loss(tmp_path, "value.backward(retain_graph=True)")
    code, out, _ = say(project, "--only", "work-of-the-engine")
    assert code == 1
    lines = out.splitlines()
    begin = lines.index("failed: work-of-the-engine")
    assert "it calls backward()" in lines[begin + 1]
    assert lines[begin + 2] == f"  look at {place}"
    assert "the engine calls backward" in lines[begin + 3]
    assert " checks failed, in " in lines[-1]


def test_all_shows_every_check(say: Say, tmp_path: Path) -> None:
    _, out, _ = say(write_project(tmp_path), "--all", "--only", "entry-point")
    assert [line.split() for line in out.splitlines() if "entry-point" in line] == [
        ["plugin", "entry-point", "passed"]
    ]


ENDS = {
    "crashes": ("import ctypes; ctypes.string_at(0)", "Segmentation fault"),
    "hangs": ("__import__('time').sleep(600)", "Timeout"),
}


@pytest.mark.parametrize("how", list(ENDS))
def test_a_plugin_that_crashes_or_hangs_ends_the_checks_with_its_line(how: str, tmp_path: Path) -> None:
    line, message = ENDS[how]
    project, place = in_the_loss(tmp_path, line)
    done = ganvae("plugins", "check", project, *ALONE, "--seconds", "8" if how == "hangs" else "60")
    file, _, number = place.rpartition(":")
    assert done.code != 0
    assert message in done.err
    assert f'File "{file}", line {number} in' in done.err


def test_a_plugin_that_exits_is_a_failure_like_any_other(say: Say, tmp_path: Path) -> None:
    project, place = in_the_loss(tmp_path, 'raise SystemExit("enough")')
    code, out, _ = say(project, *ALONE)
    assert code == 1
    assert "SystemExit: enough" in out
    assert f"look at {place}" in out


def test_what_a_plugin_prints_disturbs_nothing(say: Say, tmp_path: Path) -> None:
    project, _ = in_the_loss(tmp_path, "print('noise')")
    code, out, err = say(project, *ALONE, "--json")
    assert code == 0, out
    assert json.loads(out)["passed"]
    assert "noise" not in out + err


def test_a_component_is_given_settings_as_they_are_typed(say: Say) -> None:
    gallery = Path(__file__).with_name("gallery")
    code, out, _ = say(gallery, "source/tones:data.length=16", "--only", "specification", "--json")
    states = {o["check"]: o["state"] for o in json.loads(out)["outcomes"] if o["subject"] == "source/tones"}
    assert (code, states["specification"]) == (0, "passed")
    code, out, _ = say(gallery, "source/tones:data.length=long", "--only", "specification")
    assert code == 1
    assert (
        "source/tones: it cannot be made with data.length=long: data.length: 'long' is not possible here"
        in out
    )


def test_a_component_that_needs_settings_is_not_checked_and_the_report_says_what_to_give(say: Say) -> None:
    code, out, _ = say(Path(__file__).with_name("gallery"), "--only", "specification")
    assert code == 0
    assert "data.length must be given: 'gallery/tones' needs it (int)" in out
    assert "KIND/NAME:KEY=VALUE to ganvae plugins check" in out


REFUSED: dict[str, tuple[list[Any], str]] = {
    "unknown name": (["vea"], "there is no plugin 'vea'. Did you mean 'vae'?"),
    "no folder": (["./nowhere"], "is not the folder of a distribution"),
    "a setting without a value": (["vae", "objective/elbo:objective.beta"], "KIND/NAME:KEY=VALUE"),
    "no time": (["vae", "--seconds", "0"], "0.0 is not in the range x>0"),
    "less than no time": (["vae", "--seconds", "-1"], "-1.0 is not in the range x>0"),
    "an unknown check": (["vae", "--only", "shape"], "there is no check 'shape'. Did you mean 'shapes'?"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_checked_is_refused_in_a_line(case: str, say: Say) -> None:
    arguments, message = REFUSED[case]
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err


def test_a_folder_without_a_plugin_is_refused(say: Say, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    code, _, err = say(tmp_path)
    assert code == 2
    assert "names no plugin" in err
    (tmp_path / "pyproject.toml").write_text("[project\n")
    code, _, err = say(tmp_path)
    assert code == 2
    assert "is not TOML" in err


def test_a_plugin_that_is_disabled_cannot_be_checked(say: Say) -> None:
    code, _, err = say("vae", "--disable-plugin", "vae")
    assert code == 3
    assert "is disabled" in err


def test_the_help_names_what_is_typed_and_needs_no_torch() -> None:
    program = (
        "import sys; from ganvae_core.cli import main; main(['plugins', 'check', '--help'])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=dict(os.environ), check=True
    )
    assert "NAME|PATH" in done.stdout
