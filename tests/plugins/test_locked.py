"""``--locked`` takes the very plugins that a run was made with, and a run says which it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_environment import Done, RealEnvironment
from real_plugins import GOOD, plugin_wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="module")
def environment(real_environment: RealEnvironment, wheels: Path) -> RealEnvironment:
    real_environment.install(plugin_wheel(wheels, "good", GOOD))
    return real_environment


@pytest.fixture(scope="module")
def run(environment: RealEnvironment) -> str:
    """A run that needs the plugin."""
    done = environment.ganvae(
        "run", "--plugin", "vae", "prior=good/wide", "generator.hidden=[8]", "encoder.hidden=[8]",
        "--steps", 4, "--out", "made", "--quiet",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "made\n"), done.err
    return "made"


def test_the_plugins_of_the_run_are_accepted(run: str, environment: RealEnvironment) -> None:
    done = environment.ganvae("sample", run, "-n", 4, "-o", "four.npz", "--locked")
    assert (done.code, done.out) == (0, "four.npz\n"), done.err


def test_a_run_writes_down_what_took_part(run: str, environment: RealEnvironment) -> None:
    shown = json.loads(environment.ganvae("plugins", "info", "good", "--json").out)
    text = (environment.folder / run / "plugins.lock.toml").read_text()
    assert f'[plugins.good]\ndistribution = "x-good"\nversion = "1.0"\nsha256 = "{shown["sha256"]}"\n' in text
    assert "[plugins.builtin]" in text
    assert "[plugins.gan]" not in text


def refused(done: Done, code: int, *expected: str) -> None:
    assert (done.code, done.out) == (code, ""), done
    assert done.err.startswith("error: ")
    for part in expected:
        assert part in done.err


LOCKED = [
    ("run", "--resume", "made", "engine.steps=6"),
    ("sample", "made"),
    ("reconstruct", "made"),
    ("encode", "made"),
]


@pytest.mark.parametrize("verb", LOCKED, ids=lambda verb: verb[0])
def test_locked_refuses_files_that_were_edited(
    verb: tuple[str, ...], run: str, environment: RealEnvironment
) -> None:
    parts = environment.site / "x_good" / "parts.py"
    before = parts.read_text()
    parts.write_text(before.replace("2.0", "3.0"))
    try:
        refused(
            environment.ganvae(*verb, "--locked"),
            3,
            "the files of x-good 1.0 are not those",
            "plugins.lock.toml",
        )
    finally:
        parts.write_text(before)


def test_another_version_is_refused_when_locked_and_else_said(
    run: str, environment: RealEnvironment, wheels: Path
) -> None:
    environment.install(plugin_wheel(wheels, "good", GOOD, version="1.1"))
    try:
        done = environment.ganvae("run", "--resume", run, "engine.steps=6", "--locked")
        refused(done, 3, "the run was made with x-good 1.0, and x-good 1.1 is installed")
        done = environment.ganvae("run", "--resume", run, "engine.steps=6", "--dry-run")
        assert done.code == 0
        assert "note: x-good is 1.1 here, and was 1.0 when this run began" in done.err
    finally:
        environment.install(wheels / "x_good-1.0-py3-none-any.whl")


def test_a_run_that_needs_an_uninstalled_plugin_says_where_it_came_from(
    run: str, environment: RealEnvironment, wheels: Path
) -> None:
    assert environment.ganvae("plugins", "uninstall", "good").code == 0
    try:
        expected = (
            "'made' needs the plugin 'good', which is not installed.",
            "it came with x-good 1.0:  ganvae plugins install x-good==1.0",
        )
        for verb in (*LOCKED[:2], ("run", "--config", "made/config.yaml")):
            refused(environment.ganvae(*verb), 2, *expected)
            refused(environment.ganvae(*verb, "--locked"), 2, *expected)
        # The rest of the command line does not mind.
        assert environment.ganvae("show", run).code == 0
    finally:
        environment.install(wheels / "x_good-1.0-py3-none-any.whl")


def test_a_locked_run_from_a_configuration_takes_no_other_plugin(
    run: str, environment: RealEnvironment
) -> None:
    start = ("run", "--locked", "--config", "made/config.yaml", "--dry-run")
    assert environment.ganvae(*start).code == 0
    refused(environment.ganvae(*start, "generator=dcgan"), 3, "the plugin 'dcgan' took no part in 'made'")


def test_locked_needs_a_run_to_compare_with(run: str, environment: RealEnvironment) -> None:
    expected = "--locked compares with a run, and none is named"
    refused(environment.ganvae("run", "--plugin", "vae", "--locked"), 2, expected, "--resume RUN")
    (environment.folder / "alone.yaml").write_text((environment.folder / "made/config.yaml").read_text())
    refused(environment.ganvae("run", "--config", "alone.yaml", "--locked"), 2, expected, "plugins.lock.toml")
