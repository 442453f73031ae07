"""Help and listings answer at once, and every failure is a line with what to do."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from ganvae_core.cli.failures import unexpected
from ganvae_core.cli.frame import Settings
from ganvae_core.cli.main import VERBS, ganvae, main
from ganvae_core.errors import Interrupted, TrainingError
from ganvae_core.plugins import Catalogue, ComponentSpec, Plugin, RecipeSpec

HEAVY = ("torch", "numpy", "matplotlib", "sklearn", "PIL", "pyarrow", "yaml", "rich")
LISTINGS = [
    ["--help"],
    ["--version"],
    ["plugins", "list"],
    ["plugins", "info", "vae"],
    ["components"],
    ["runs"],
]
PROBE = """
import sys
from ganvae_core.cli import main
code = main(sys.argv[1:])
print(*[name for name in {heavy} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONWARNINGS": "error"} | variables
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
    )


def loaded_by(*arguments: str, heavy: tuple[str, ...]) -> list[str]:
    done = python("-c", PROBE.format(heavy=heavy), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1].split()


@pytest.mark.parametrize("arguments", LISTINGS, ids=" ".join)
def test_a_listing_in_a_pipe_imports_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments, heavy=HEAVY if arguments != ["runs"] else ("torch",)) == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_imports_no_torch(verb: str) -> None:
    assert loaded_by(verb, "--help", heavy=("torch",)) == []


def test_the_light_modules_import_nothing_heavy() -> None:
    modules = (
        "ganvae_core, ganvae_core.cli, ganvae_core.plugins, ganvae_core.errors, ganvae_core.plugins.known"
    )
    done = python("-c", f"import sys, {modules}; print(*[n for n in {HEAVY} if n in sys.modules])")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def some(name: str, **fields: object) -> Plugin:
    values = {
        "state": "ready",
        "reason": "",
        "distribution": f"x-{name}",
        "version": "1.0",
        "entry_point": "x.plugin",
    }
    return Plugin(name, **{**values, **fields})


PRIORS = tuple(ComponentSpec("prior", name, "x.y:Z", f"a {name} prior") for name in ("flat", "round"))
CATALOGUE = Catalogue(
    (
        some(
            "acme",
            components=PRIORS,
            recipes=(RecipeSpec("acme", "acme.yaml", "a recipe", "an hour"),),
            api=1,
        ),
        some(
            "sketch", state="broken", reason="ValueError: " + "long " * 40, traceback="Traceback: x\n  line 7"
        ),
    ),
    unreadable=("x-odd: TypeError",),
)


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(ganvae, arguments, obj=Settings(catalogue=CATALOGUE))
    assert result.exit_code == 0, result.output
    return result


def test_plugins_list_has_a_row_for_each_plugin_and_cuts_nothing_off_in_a_pipe() -> None:
    lines = invoke("plugins", "list").stdout.splitlines()
    assert lines[0].split() == ["plugin", "state", "from", "offers"]
    assert re.split(r"\s{2,}", lines[1]) == ["acme", "ready", "x-acme 1.0", "1 recipe · 2 priors"]
    assert lines[2].endswith("long " * 40 + "      ganvae plugins info sketch --traceback")
    assert (
        len({line.index(word) for line, word in zip(lines, ("from", "x-acme", "x-sketch"), strict=True)}) == 1
    )


def test_plugins_list_says_what_it_could_not_read() -> None:
    assert "x-odd: TypeError" in invoke("plugins", "list").stderr


def test_plugins_list_as_json() -> None:
    listed = json.loads(invoke("plugins", "list", "--json").stdout)
    assert [(plugin["name"], plugin["state"]) for plugin in listed] == [
        ("acme", "ready"),
        ("sketch", "broken"),
    ]
    assert listed[0]["components"][0]["name"] == "flat"


def test_plugins_info_says_everything_of_one() -> None:
    shown = invoke("plugins", "info", "acme").stdout
    for part in (
        "acme",
        "ready",
        "x-acme 1.0",
        "x.plugin",
        "core API 1",
        "acme/flat",
        "a round prior",
        "a recipe",
        "acme, with more time: an hour",
    ):
        assert part in shown
    assert json.loads(invoke("plugins", "info", "acme", "--json").stdout)["api"] == 1


def test_plugins_info_shows_the_traceback_when_asked() -> None:
    assert "line 7" not in invoke("plugins", "info", "sketch").stdout
    assert "line 7" in invoke("plugins", "info", "sketch", "--traceback").stdout
    assert "line 7" in invoke("--traceback", "plugins", "info", "sketch").stdout


def test_components_are_grouped_by_kind() -> None:
    assert invoke("components").stdout.splitlines() == [
        "prior",
        "acme/flat    a flat prior",
        "acme/round   a round prior",
    ]
    assert invoke("components", "prior").stdout == invoke("components").stdout


def test_components_as_json() -> None:
    first = json.loads(invoke("components", "--json").stdout)[0]
    assert first == {"kind": "prior", "id": "acme/flat", "summary": "a flat prior"}


def test_a_component_is_shown_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["components", "prior", "mixture"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("builtin/mixture   ")
    assert "components   int     10        number of Gaussians" in shown
    assert main(["components", "observation", "bernoulli", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "builtin/bernoulli"
    assert main(["components", "prior", "mixtur"]) == 2
    assert "Did you mean 'mixture'?" in capsys.readouterr().err


def test_a_kind_without_components_says_so() -> None:
    result = invoke("components", "callback")
    assert (result.stdout, result.stderr) == ("", "no callback is installed\n")


@pytest.mark.parametrize(
    "arguments",
    [["--disable-plugin", "vae", "plugins", "list"], ["plugins", "list", "--disable-plugin", "vae"]],
)
def test_a_plugin_is_disabled_before_and_after_the_verb(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json"]) == 0
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(capsys.readouterr().out)}
    assert states["vae"] == "disabled"
    assert states["gan"] == "ready"


@pytest.mark.parametrize(
    "arguments", [["--version"], ["components", "--version"], ["plugins", "list", "--version"]]
)
def test_the_version_is_printed_anywhere(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("ganvae 0.")


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_every_verb_in_its_section(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for verb in VERBS.values():
        assert f"\n{verb.section}:\n" in shown
        assert verb.summary in shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_the_options_that_are_accepted_everywhere(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "-h"]) == 0
    shown = capsys.readouterr().out
    for option in ("--disable-plugin", "--traceback", "--version", "--help"):
        assert option in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["smaple"], "error: there is no verb 'smaple'. Did you mean 'sample'?\n  ganvae --help\n"),
        (["train"], "error: there is no verb 'train'. Did you mean 'run'?\n  ganvae --help\n"),
        (["vae"], "error: there is no verb 'vae'. Did you mean 'ganvae run --plugin vae'?\n"),
        (["--bogus"], "error: no such option '--bogus'\n  ganvae --help\n"),
        (["components", "--bogus"], "error: no such option '--bogus'\n  ganvae components --help\n"),
        (["plugins", "info"], "error: missing argument 'P'\n  ganvae plugins info --help\n"),
        (
            ["plugins", "info", "vea"],
            "error: there is no plugin 'vea'. Did you mean 'vae'?\n"
            "  installed: ae, audio-gan, audio-vae, bigan, cgan, dcgan, gan, infogan, series-gan, series-vae, ssgan,"
            " table-gan, table-vae, text-vae, vae          ganvae plugins list\n",
        ),
        (
            ["components", "priors"],
            "error: there is no kind 'priors'. Did you mean 'prior'?\n"
            "  kinds: generator, encoder, critic, objective, prior, observation, source, view, metric, callback,"
            " schedule, optimizer\n",
        ),
    ],
)
def test_a_wrong_word_is_an_error_of_one_line_with_what_to_do(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", expected)


def test_a_plugin_that_is_not_there_cannot_be_disabled_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["components", "--disable-plugin", "vea"]) == 2
    assert "there is no plugin 'vea'. Did you mean 'vae'?" in capsys.readouterr().err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A list; the verb ``components`` raises the exception that is put into it."""
    errors: list[BaseException] = []

    @click.command()
    def components() -> None:
        raise errors[0]

    monkeypatch.setattr(importlib.import_module("ganvae_core.cli.component_verbs"), "components", components)
    return errors


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (
            TrainingError("the loss is not finite", "lower it"),
            1,
            "error: the loss is not finite\n  lower it\n",
        ),
        (
            Interrupted("stopped at 3; saved.", "go on: x", exit_code=143),
            143,
            "stopped at 3; saved.\ngo on: x\n",
        ),
        (KeyboardInterrupt(), 130, "\nstopped.\n"),
        (OSError(28, "No space left on device", "runs/a"), 1, "error: runs/a: no space left on device\n"),
        (PermissionError(13, "Permission denied", "x"), 1, "error: x: permission denied\n"),
        (click.BadParameter("7 is odd"), 2, "error: invalid value: 7 is odd\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_a_failure_is_said_in_a_line_and_has_its_exit_code(
    error: BaseException,
    code: int,
    expected: str,
    failing: list[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing.append(error)
    assert main(["components"]) == code
    shown = capsys.readouterr().err
    assert shown.startswith(expected)
    assert "Traceback" not in shown


def test_an_unexpected_error_says_where_it_came_from(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(TypeError("not a number\nand more"))
    assert main(["components"]) == 1
    first, where, how = capsys.readouterr().err.splitlines()
    assert first == "error: something went wrong inside ganvae: TypeError: not a number"
    assert where.startswith("  at ")
    assert where.rpartition(":")[2].isdigit()
    assert how == "  --traceback shows all of it"


def test_an_unexpected_error_of_a_plugin_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    module: dict[str, Any] = {"__name__": "acme.net"}
    exec(compile("def make():\n    {}['width']", "acme/net.py", "exec"), module)
    plugin = types.ModuleType("acme.plugin")
    monkeypatch.setitem(sys.modules, "acme.plugin", plugin)
    with pytest.raises(KeyError) as raised:
        module["make"]()
    assert unexpected(raised.value)[0].startswith("something went wrong inside ganvae: ")
    plugin.__dict__["ganvae_api"] = 1
    assert unexpected(raised.value)[:2] == (
        "something went wrong inside the plugin package acme: KeyError: 'width'", "at acme/net.py:2",
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [["--traceback", "components"], ["components", "--traceback"]])
def test_a_traceback_is_shown_when_asked_before_the_line(
    arguments: list[str], failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(TrainingError("the loss is not finite"))
    assert main(arguments) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("error: the loss is not finite\n")


def test_a_needed_plugin_that_is_broken_has_exit_code_3(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match="sketch") as caught:
        CATALOGUE.plugin("sketch")
    failing.append(caught.value)
    assert main(["components"]) == 3
    assert "  ganvae plugins info sketch --traceback\n" in capsys.readouterr().err


def test_a_broken_plugin_in_the_environment_is_listed_beside_the_others(tmp_path: Path) -> None:
    info = tmp_path / "x_broken-0.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x-broken\nVersion: 0.2\n")
    (info / "entry_points.txt").write_text("[ganvae]\nbroken = x_broken\n")
    (tmp_path / "x_broken.py").write_text("import cairo_that_is_not_there\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = python("-m", "ganvae_core", "plugins", "list", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    states = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    assert (states["broken"], states["vae"]) == ("broken", "ready")
    assert (
        "No module named 'cairo_that_is_not_there'      ganvae plugins info broken --traceback" in done.stdout
    )


def test_an_output_that_nobody_reads_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ganvae_core", "components"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_said_in_a_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ganvae_core", "components"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (1, "error: no space left on device\n")


def test_a_narrow_encoding_costs_a_character_and_not_the_answer() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ganvae_core", "components", "objective"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 0, done.stderr
    assert b"a weight ? on" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ganvae pl", "plain,plugins"),
        ("ganvae plugins info va", "plain,vae"),
        ("ganvae components crit", "plain,critic"),
    ],
)
def test_the_shell_completes_verbs_plugins_and_kinds(words: str, expected: str) -> None:
    position = str(len(words.split()) - 1)
    done = python(
        "-m", "ganvae_core", _GANVAE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=position
    )
    assert done.stdout.split() == [expected]


def test_a_signal_while_listing_leaves_no_traceback() -> None:
    script = "import os, signal; from ganvae_core.cli import main; import ganvae_core.cli.main as m\n"
    script += "import ganvae_core.cli.component_verbs as v\n"
    script += f"v.current_catalogue = lambda: os.kill(os.getpid(), {int(signal.SIGINT)})\n"
    script += "import sys; sys.exit(main(['components']))"
    done = python("-c", script)
    assert (done.returncode, done.stderr.strip()) == (130, "stopped.")
