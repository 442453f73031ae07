"""Installing and uninstalling: the command, the versions that are held, and the plugins that are listed."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from fake_distributions import Environment
from real_environment import RealEnvironment, wheel
from real_plugins import GOOD, plugin_wheel

from ganvae_core.errors import ConfigurationError
from ganvae_core.plugins import KnownPlugin, installer
from ganvae_core.plugins.installer import installer_command, requirements_of, uninstall


def known(install: str, distribution: str = "ganvae-swae") -> KnownPlugin:
    return KnownPlugin("swae", distribution, "", "", install, (), ())


@pytest.mark.parametrize(
    ("install", "expected"),
    [
        ("pip install ganvae-swae", ["ganvae-swae"]),
        ("pip install 'ganvae-swae >= 2'", ["ganvae-swae >= 2"]),
        ("pip install --index-url https://x.example swae", ["--index-url", "https://x.example", "swae"]),
    ],
)
def test_a_plugin_of_the_registry_is_installed_as_it_says(install: str, expected: list[str]) -> None:
    assert requirements_of(known(install)) == expected


@pytest.mark.parametrize("install", ["conda install swae", ""])
def test_another_program_is_left_to_the_user(install: str) -> None:
    with pytest.raises(ConfigurationError, match="'swae' is not installed by pip"):
        requirements_of(known(install))


def test_what_is_ganvae_s_own_is_not_installed() -> None:
    with pytest.raises(ConfigurationError, match="a part of ganvae itself"):
        requirements_of(known("pip install ganvae", "ganvae"))


def test_uv_is_used_where_there_is_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert installer_command("install", "acme")[:3] == [sys.executable, "-m", "pip"]
    assert "--yes" in installer_command("uninstall", "acme")
    monkeypatch.setattr(installer, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="neither pip nor uv"):
        installer_command("install", "acme")
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    for verb in ("install", "uninstall"):
        command = installer_command(verb, "acme")
        assert command[0] == str(uv)
        assert command[-5:] == ["pip", verb, "--python", sys.executable, "acme"]


def test_uninstall_names_the_distributions_where_two_claim_a_plugin(environment: Environment) -> None:
    environment.plugin("acme")
    environment.distribution("x-rival", "[ganvae]\nacme = x_acme.plugin\n")
    with pytest.raises(ConfigurationError, match="claimed by x-acme and by x-rival") as caught:
        uninstall("acme")
    assert caught.value.hints == ("ganvae plugins uninstall x-acme", "ganvae plugins uninstall x-rival")


@pytest.mark.parametrize("name", ["vae", "builtin", "ganvae"])
def test_ganvae_s_own_are_never_uninstalled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "run_installer", lambda *_: pytest.fail("it was"))
    with pytest.raises(ConfigurationError, match="a part of ganvae itself"):
        uninstall(name)


@pytest.mark.parametrize("name", ["torch", "nonesuch"])
def test_what_is_no_plugin_is_not_uninstalled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "run_installer", lambda *_: pytest.fail("it was"))
    with pytest.raises(ConfigurationError, match=f"no plugin '{name}' is installed"):
        uninstall(name)


def test_a_wheel_is_installed_and_its_plugins_are_listed(
    real_environment: RealEnvironment, tmp_path: Path
) -> None:
    done = real_environment.ganvae("plugins", "install", plugin_wheel(tmp_path, "good", GOOD))
    assert done.code == 0, done.err
    assert [line.split() for line in done.out.splitlines()] == [
        ["plugin", "state", "from", "offers"],
        ["good", "ready", "x-good", "1.0", "1", "prior"],
    ]
    assert "Successfully installed x-good-1.0" in done.err
    again = real_environment.ganvae("plugins", "install", "x-good")
    assert (again.code, again.out) == (0, "")
    assert again.err.endswith("x-good is installed; no plugin is new or has another version\n")
    newer = real_environment.ganvae("plugins", "install", plugin_wheel(tmp_path, "good", GOOD, version="1.1"))
    assert "good     ready   x-good 1.1   1 prior\n" in newer.out
    gone = real_environment.ganvae("plugins", "uninstall", "good")
    assert gone.code == 0
    assert gone.err.endswith("x-good 1.1 is uninstalled, and with it: good\n")


def test_an_editable_install_is_listed(real_environment: RealEnvironment, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "src/x_live").mkdir(parents=True)
    (project / "src/x_live/__init__.py").write_text("")
    (project / "src/x_live/plugin.py").write_text(GOOD.replace("x_{name}", "x_live"))
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[tool.hatch.build]\ndev-mode-dirs = ["src"]\n[tool.hatch.build.targets.wheel]\npackages = ["src/x_live"]\n'
        '[project]\nname = "x-live"\nversion = "1.0"\n[project.entry-points.ganvae]\nlive = "x_live.plugin"\n'
    )
    done = real_environment.ganvae("plugins", "install", "-e", project, "--", "--no-build-isolation")
    assert done.code == 0, done.err
    assert "live     ready   x-live 1.0   1 prior\n" in done.out
    assert real_environment.ganvae("plugins", "uninstall", "x-live").code == 0


def test_a_plugin_that_cannot_be_used_is_an_error(real_environment: RealEnvironment, tmp_path: Path) -> None:
    done = real_environment.ganvae(
        "plugins", "install", plugin_wheel(tmp_path, "sketch", "import cairo_gone")
    )
    assert done.code == 3
    assert "sketch   broken   x-sketch 1.0   ModuleNotFoundError: No module named 'cairo_gone'" in done.out
    assert done.err.endswith("error: 'sketch' cannot be used.\n  ganvae plugins uninstall x-sketch\n")


@pytest.mark.parametrize(("requirement", "held"), [("torch<2", "torch"), ("ganvae>=9", "ganvae")])
def test_torch_and_ganvae_are_held(
    requirement: str, held: str, real_environment: RealEnvironment, tmp_path: Path
) -> None:
    needy = wheel(
        tmp_path, "x-needy", "[ganvae]\nneedy = x_needy\n", {"x_needy.py": ""}, requires=requirement
    )
    done = real_environment.ganvae("plugins", "install", needy)
    assert (done.code, done.out) == (2, "")
    assert f"x-needy 1.0 depends on {requirement}\n" in done.err
    assert f"(constraint) {held}=={version(held)}\n" in done.err
    assert done.err.endswith("error: install failed, for the reason above.\n")


def test_options_after_two_dashes_are_pip_s(real_environment: RealEnvironment, tmp_path: Path) -> None:
    wanted = plugin_wheel(tmp_path, "hashed", GOOD)
    done = real_environment.ganvae("plugins", "install", wanted, "--", "--require-hashes")
    assert (done.code, done.out) == (2, "")
    assert "--require-hashes" in done.err
    assert "--hash=sha256:" in done.err


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            "a-distribution-that-nobody-has",
            "No matching distribution found for a-distribution-that-nobody-has",
        ),
        ("./nowhere", "ERROR: "),
        ("vae", "'vae' is a part of ganvae itself"),
    ],
)
def test_what_cannot_be_installed_is_said(
    target: str, expected: str, real_environment: RealEnvironment
) -> None:
    done = real_environment.ganvae("plugins", "install", target)
    assert (done.code, done.out) == (2, "")
    assert expected in done.err
    assert "Traceback" not in done.err


def test_a_distribution_without_a_plugin_is_said_to_have_none(
    real_environment: RealEnvironment, tmp_path: Path
) -> None:
    made = wheel(tmp_path, "x-none", "", {"x_none.py": ""})
    done = real_environment.ganvae("plugins", "install", made)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(f"{made} is installed; no plugin is new or has another version\n")
