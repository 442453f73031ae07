"""pip's part of a plugin's life: which command, what is held, and what is said when it fails."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from fake_distributions import Environment
from real_environment import RealEnvironment, wheel
from real_plugins import GOOD, plugin_wheel

from ganvae_core.cli import install_verbs
from ganvae_core.errors import ConfigurationError
from ganvae_core.plugins import KnownPlugin, installer
from ganvae_core.plugins.installer import (
    distribution_named,
    installer_command,
    reasons,
    requirement_of,
    uninstall,
)


def known(install: str, distribution: str = "ganvae-swae") -> KnownPlugin:
    return KnownPlugin("swae", distribution, "", "", install, (), ())


@pytest.mark.parametrize(
    ("install", "expected"),
    [("pip install ganvae-swae", "ganvae-swae"), ("pip install 'ganvae-swae>=2'", "ganvae-swae>=2")],
)
def test_a_plugin_of_the_registry_is_installed_as_it_says(install: str, expected: str) -> None:
    assert requirement_of(known(install)) == expected


@pytest.mark.parametrize(
    "install", ["pip install --index-url https://x.example swae", "conda install swae", ""]
)
def test_instructions_for_a_person_are_left_to_a_person(install: str) -> None:
    with pytest.raises(ConfigurationError, match="'swae' is installed by hand"):
        requirement_of(known(install))


def test_what_is_ganvae_s_own_is_not_installed() -> None:
    with pytest.raises(ConfigurationError, match="a part of ganvae itself"):
        requirement_of(known("pip install ganvae", "ganvae"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ganvae-swae", "ganvae-swae"),
        ("ganvae-swae[dev]>=1", "ganvae-swae"),
        ("acme @ git+https://x.example/acme", "acme"),
        ("dist/x_acme-1.0-py3-none-any.whl", "x-acme"),
        ("git+https://x.example/acme", None),
        ("project", "x-project"),
        ("project[dev]", "x-project"),
        ("nameless", None),
    ],
)
def test_the_distribution_behind_what_was_typed(
    target: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("project", '[project]\nname = "x-project"\n'), ("nameless", "[tool]\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(text)
    assert distribution_named(target) == expected


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


PIP_BUILD = """\
Processing ./acme
  Preparing metadata (pyproject.toml): finished with status 'error'
  error: subprocess-exited-with-error

  × Preparing metadata (pyproject.toml) did not run successfully.
  │ exit code: 1
  ╰─> [24 lines of output]
      Traceback (most recent call last):
        File "/x/_in_process.py", line 353, in <module>
          main()
          ^^^^^^
      ValueError: unknown licence
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
error: metadata-generation-failed
"""
UV = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because acme==1.0 depends on torch<2 and torch==2.13.0, we can conclude
      that acme==1.0 cannot be used.
"""


def test_of_a_failed_build_the_exception_is_shown_and_no_frames() -> None:
    said = reasons(PIP_BUILD)
    assert "ValueError: unknown licence" in said
    assert not any("main()" in line or "File" in line or "Processing" in line for line in said)


def test_uv_s_reasons_are_shown() -> None:
    assert reasons(UV)[0] == "× No solution found when resolving dependencies:"
    assert reasons(UV)[-1] == "that acme==1.0 cannot be used."


def test_where_no_line_says_error_the_last_ones_are_shown() -> None:
    assert reasons("one\ntwo\n") == ["one", "two"]


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


def test_a_pin_of_the_registry_is_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('version = 1\n[policy.pins]\nswae = "==0.3"\n[plugins.swae]\ndistribution = "my-swae"\n')
    monkeypatch.setattr(install_verbs, "registry_file", lambda: file)
    assert install_verbs.wanted("swae", False) == "my-swae==0.3"
    assert install_verbs.wanted("another", False) == "another"
    file.write_text('version = 1\n[policy]\ndeny = ["swae"]\n[plugins.swae]\ndistribution = "my-swae"\n')
    with pytest.raises(ConfigurationError, match="'swae' is denied by"):
        install_verbs.wanted("swae", False)


def project(folder: Path) -> str:
    """The folder of a distribution ``x-good`` with the plugin ``good``."""
    folder.mkdir()
    text = '[project]\nname = "x-good"\n[project.entry-points.ganvae]\ngood = "x_good.plugin"\n'
    (folder / "pyproject.toml").write_text(text)
    return str(folder)


def under(policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'version = 1\n[policy]\n{policy}\n[plugins.swae]\ndistribution = "my-swae"\n')
    monkeypatch.setattr(install_verbs, "registry_file", lambda: file)


@pytest.mark.parametrize(
    "what",
    ["swae", "my-swae", "My_SWAE>=0.3", "my_swae-0.3-py3-none-any.whl", "my-swae @ https://x.example/x.whl", "late",
     "ganvae-late==1", "wheel", "project"],
)  # fmt: skip
@pytest.mark.parametrize(
    "policy", ['deny = ["swae", "late", "good"]', 'mode = "allowlist"\nallow = ["other"]']
)
def test_what_a_policy_refuses_is_not_installed_however_it_is_called(
    policy: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under(policy, tmp_path, monkeypatch)
    made = {"wheel": lambda: plugin_wheel(tmp_path, "good", GOOD), "project": lambda: project(tmp_path / "p")}
    target = made[what]() if what in made else what
    for editable in (False, True):
        with pytest.raises(ConfigurationError, match=r"mine\.toml"):
            install_verbs.wanted(str(target), editable)


def test_an_allowlist_lets_be_installed_what_it_names_and_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under('mode = "allowlist"\nallow = ["swae", "good"]', tmp_path, monkeypatch)
    folder, made = project(tmp_path / "p"), str(plugin_wheel(tmp_path, "good", GOOD))
    assert install_verbs.wanted("swae", False) == "my-swae"
    assert [install_verbs.wanted(what, False) for what in ("my-swae>=1", folder, made)] == [
        "my-swae>=1",
        folder,
        made,
    ]
    with pytest.raises(ConfigurationError, match="none of the plugins that"):
        install_verbs.wanted("https://x.example/my_swae-1.0.tar.gz", False)
    with pytest.raises(ConfigurationError, match="'vae' is a part of ganvae itself"):
        install_verbs.wanted("vae", False)


def test_a_denied_plugin_that_came_all_the_same_is_an_error(
    real_environment: RealEnvironment, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\n[policy]\ndeny = ["hidden"]\n')
    made = plugin_wheel(tmp_path, "loud", GOOD, claims="hidden")
    address = f"file://{made}"  # says nothing of the plugins that come with it
    done = real_environment.ganvae("plugins", "install", address, "--registry", policy)
    assert done.code == 3, done.err
    assert "error: x-loud is installed, and 'hidden' cannot be used.\n" in done.err


def test_a_wheel_is_installed_checked_and_shown(real_environment: RealEnvironment, tmp_path: Path) -> None:
    done = real_environment.ganvae("plugins", "install", plugin_wheel(tmp_path, "good", GOOD))
    assert done.code == 0, done.err
    assert done.out.startswith("good   ready   x-good 1.0\n")
    assert "good/wide" in done.out
    # Once more changes nothing, and says the same.
    again = real_environment.ganvae("plugins", "install", "x-good")
    assert (again.code, again.out) == (0, done.out)


def test_a_plugin_that_cannot_be_used_is_an_error(real_environment: RealEnvironment, tmp_path: Path) -> None:
    done = real_environment.ganvae(
        "plugins", "install", plugin_wheel(tmp_path, "sketch", "import cairo_gone")
    )
    assert done.code == 3
    assert done.out.startswith(
        "sketch   broken   x-sketch 1.0\n  ModuleNotFoundError: No module named 'cairo_gone'"
    )
    assert "error: x-sketch is installed, and 'sketch' cannot be used.\n" in done.err
    assert done.err.endswith("  ganvae plugins uninstall x-sketch\n")


@pytest.mark.parametrize(("requirement", "held"), [("torch<2", "torch"), ("ganvae>=9", "ganvae")])
def test_torch_and_ganvae_are_held(
    requirement: str, held: str, real_environment: RealEnvironment, tmp_path: Path
) -> None:
    needy = wheel(
        tmp_path, "x-needy", "[ganvae]\nneedy = x_needy\n", {"x_needy.py": ""}, requires=requirement
    )
    done = real_environment.ganvae("plugins", "install", needy)
    assert (done.code, done.out) == (2, "")
    assert f"error: {needy} could not be installed.\n" in done.err
    assert f"x-needy 1.0 depends on {requirement}\n" in done.err
    assert f"(constraint) {held}=={version(held)}\n" in done.err


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            "a-distribution-that-nobody-has",
            "No matching distribution found for a-distribution-that-nobody-has",
        ),
        ("./nowhere", "there is no file and no folder 'nowhere' to install"),
        ("gone-1.0-py3-none-any.whl", "there is no file and no folder"),
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


def test_a_distribution_without_a_plugin_is_said_to_be_one(
    real_environment: RealEnvironment, tmp_path: Path
) -> None:
    done = real_environment.ganvae("plugins", "install", wheel(tmp_path, "x-none", "", {"x_none.py": ""}))
    assert (done.code, done.out) == (3, "")
    assert "x-none is installed, and offers no plugin" in done.err


def test_all_that_pip_said_is_shown_when_asked(real_environment: RealEnvironment) -> None:
    done = real_environment.ganvae("plugins", "install", "a-distribution-that-nobody-has", "--traceback")
    assert "ERROR: No matching distribution found" in done.err
