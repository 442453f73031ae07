"""A run records the versions of its plugins, and says when one changed or is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_environment import RealEnvironment
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


def test_a_run_records_the_plugins_that_took_part(run: str, environment: RealEnvironment) -> None:
    text = (environment.folder / run / "plugins.lock.toml").read_text()
    assert '[plugins.good]\ndistribution = "x-good"\nversion = "1.0"\n' in text
    assert "[plugins.builtin]" in text
    assert "[plugins.gan]" not in text


def test_another_version_is_said(run: str, environment: RealEnvironment, wheels: Path) -> None:
    environment.install(plugin_wheel(wheels, "good", GOOD, version="1.1"))
    try:
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
        verbs = (
            ("run", "--resume", "made", "engine.steps=6"),
            ("sample", "made"),
            ("run", "--config", "made/config.yaml"),
        )
        for verb in verbs:
            done = environment.ganvae(*verb)
            assert (done.code, done.out) == (2, "")
            assert "error: 'made' needs the plugin 'good', which is not installed.\n" in done.err
            assert "it came with x-good 1.0:  ganvae plugins install x-good==1.0" in done.err
        # The rest of the command line still works.
        assert environment.ganvae("show", run).code == 0
    finally:
        environment.install(wheels / "x_good-1.0-py3-none-any.whl")
