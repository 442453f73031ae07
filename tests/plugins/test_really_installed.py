"""Broken plugins hurt no other, proved with wheels that pip installed into a fresh virtual environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_environment import RealEnvironment
from real_plugins import GOOD, HEAD, plugin_wheel

HOOK = HEAD + "@hookimpl\ndef ganvae_components():\n    "
BROKEN = {
    "importing": (
        "import a_package_that_is_not_there",
        "broken",
        "No module named 'a_package_that_is_not_there'",
    ),
    "exiting": ("raise SystemExit('no licence')", "broken", "SystemExit: no licence"),
    "speechless": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
        "broken",
        "Odd: <exception str() failed>",
    ),
    "raising": (HOOK + "return [][1]", "broken", "ganvae_components: IndexError"),
    "returning": (HOOK + "return 'wide'", "broken", "returned str, not a list of ComponentSpec"),
    "iterating": (
        HOOK + "return Odd()\nclass Odd(list):\n    def __iter__(self): raise MemoryError",
        "broken",
        "MemoryError",
    ),
    "misspelt": (HEAD + "@hookimpl\ndef ganvae_component(): return []", "broken", "'ganvae_components'"),
    "newer": ("ganvae_api = 2", "incompatible", "written for core API 2, this is 1"),
}
READY = {"good": GOOD, "talkative": "print('hello')\n" + GOOD}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="module")
def environment(real_environment: RealEnvironment, wheels: Path) -> RealEnvironment:
    """An environment with good plugins among all sorts of broken ones."""
    made = [plugin_wheel(wheels, name, module) for name, (module, _, _) in BROKEN.items()]
    made += [plugin_wheel(wheels, name, module) for name, module in READY.items()]
    made += [plugin_wheel(wheels, f"twin-{which}", GOOD, claims="twin") for which in "ab"]
    made += [plugin_wheel(wheels, "thief", GOOD, claims="vae"), plugin_wheel(wheels, "odd", GOOD)]
    real_environment.install(*made)
    # pip refuses such a file, but other installers, and editors, do not.
    points = real_environment.site / "x_odd-1.0.dist-info" / "entry_points.txt"
    points.write_text("[ganvae]\nthis is no entry point\n")
    return real_environment


@pytest.fixture(scope="module")
def listed(environment: RealEnvironment) -> dict[tuple[str, str], dict[str, Any]]:
    """All plugins by name and distribution."""
    done = environment.ganvae("plugins", "list", "--json")
    assert done.code == 0, done.err
    return {(plugin["name"], plugin["distribution"]): plugin for plugin in json.loads(done.out)}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_has_its_state_and_the_reason(
    name: str, listed: dict[tuple[str, str], dict[str, Any]]
) -> None:
    _, state, reason = BROKEN[name]
    found = listed[name, f"x-{name}"]
    assert found["state"] == state
    assert reason in found["reason"]
    assert found["components"] == []


@pytest.mark.parametrize("name", READY)
def test_a_good_plugin_is_ready_among_them(name: str, listed: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert listed[name, f"x-{name}"]["state"] == "ready"


def test_claims_of_one_name_are_in_conflict_and_a_reserved_name_stays_its_owner_s(
    listed: dict[tuple[str, str], dict[str, Any]],
) -> None:
    for which in "ab":
        found = listed["twin", f"x-twin-{which}"]
        assert found["state"] == "conflict"
        assert "x-twin-a 1.0" in found["reason"]
        assert "x-twin-b 1.0" in found["reason"]
    assert listed["vae", "ganvae"]["state"] == "ready"
    assert listed["vae", "x-thief"]["state"] == "conflict"


def test_the_list_shows_states_reasons_and_what_could_not_be_read(environment: RealEnvironment) -> None:
    done = environment.ganvae("plugins", "list")
    assert done.code == 0
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert rows["good"].split()[1:] == ["ready", "x-good", "1.0", "1", "prior"]
    assert "No module named 'a_package_that_is_not_there'" in rows["importing"]
    assert "ganvae plugins info importing --traceback" in rows["importing"]
    assert "x_odd-1.0.dist-info" in done.err
    assert "hello" not in done.out


def test_info_with_traceback_leads_to_the_line(environment: RealEnvironment) -> None:
    without = environment.ganvae("plugins", "info", "raising")
    assert "Traceback" not in without.out
    shown = environment.ganvae("plugins", "info", "raising", "--traceback").out
    assert 'x_raising/plugin.py", line 5, in ganvae_components' in shown
    assert "return [][1]" in shown


def test_a_good_plugin_trains_among_them(environment: RealEnvironment) -> None:
    done = environment.run(
        environment.scripts / "ganvae", "run", "--plugin", "vae", "prior=good/wide", "generator.hidden=[8]",
        "encoder.hidden=[8]", "--steps", 2, "--out", "made", "--quiet",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "made\n"), done.err


@pytest.mark.parametrize(
    ("name", "state"), [("importing", "broken"), ("newer", "incompatible"), ("twin", "conflict")]
)
def test_a_run_fails_only_for_a_plugin_that_it_needs(
    name: str, state: str, environment: RealEnvironment
) -> None:
    done = environment.ganvae("run", "--plugin", name)
    assert (done.code, done.out) == (3, "")
    assert f"error: plugin '{name}'" in done.err
    assert f"is {state}: " in done.err
    assert "Traceback" not in done.err


@pytest.fixture
def fatal(environment: RealEnvironment, wheels: Path) -> Iterator[None]:
    """A plugin that ends the process that imports it: nothing in that process can survive it."""
    environment.install(plugin_wheel(wheels, "fatal", "import os; os._exit(77)"))
    yield
    gone = environment.ganvae("plugins", "uninstall", "fatal")
    assert gone.code == 0
    assert gone.err.endswith("x-fatal 1.0 is uninstalled, and with it: fatal\n")


@pytest.mark.usefixtures("fatal")
def test_a_disabled_plugin_is_not_imported(environment: RealEnvironment) -> None:
    assert environment.ganvae("plugins", "list").code == 77
    by_option = environment.ganvae("plugins", "list", "--disable-plugin", "fatal")
    by_variable = environment.ganvae("plugins", "list", GANVAE_DISABLE_PLUGINS="importing,fatal")
    (environment.folder / "mine.toml").write_text('version = 1\ndisable = ["fatal"]\n')
    by_registry = environment.ganvae("plugins", "list", "--registry", "mine.toml")
    for done in (by_option, by_variable, by_registry):
        assert done.code == 0
        assert re.search(r"^fatal +disabled ", done.out, re.MULTILINE)


def test_installing_what_ends_the_process_says_how_to_get_rid_of_it(
    environment: RealEnvironment, wheels: Path
) -> None:
    wheel = plugin_wheel(wheels, "final", "import os; os._exit(7)")
    done = environment.ganvae("plugins", "install", wheel)
    assert (done.code, done.out) == (3, "")
    assert done.err.endswith(
        "error: x-final was installed, and now `ganvae plugins list` ends with exit code 7.\n"
        "  ganvae plugins uninstall x-final\n"
    )
    assert environment.ganvae("plugins", "uninstall", "x-final").code == 0
