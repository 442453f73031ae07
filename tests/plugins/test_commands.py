"""Verbs that plugins add: found, shown, run, and refused where they cannot be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_distributions import Environment

from ganvae_core.cli.main import main
from ganvae_core.plugins import installed_plugins

MODULE = """
from ganvae_core.plugins import CommandSpec, hookimpl
ganvae_api = 1

@hookimpl
def ganvae_commands():
    return [CommandSpec{arguments}]
"""
VERBS = """
import click
from ganvae_core.errors import DataError

@click.command()
@click.argument("count", type=int)
def tell(count):
    "Print COUNT."
    click.echo(f"told {count}")
    return 0 if count else 7

@click.command()
def fail():
    raise DataError("there is nothing to tell.", "tell something")

plain = tell.callback
"""


@pytest.fixture(autouse=True)
def _fresh_catalogue() -> Iterator[None]:
    installed_plugins.cache_clear()
    yield
    installed_plugins.cache_clear()


def add(environment: Environment, plugin: str, arguments: str) -> None:
    environment.plugin(plugin, MODULE.replace("{arguments}", arguments))
    environment.write(f"x_{plugin}/verbs.py", VERBS)


@pytest.mark.parametrize("group", ["", "plugins"])
def test_a_verb_is_listed_unimported_and_runs_like_any_other(
    group: str, environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    add(environment, "acme", f"('tell', 'x_acme.verbs:tell', 'says a number', group={group!r})")
    words = [group] if group else []
    environment.write("x_acme/verbs.py", "raise RuntimeError('imported')")
    assert main([*words, "--help"]) == 0
    assert "says a number" in capsys.readouterr().out
    environment.write("x_acme/verbs.py", VERBS)
    assert main([*words, "tell", "3"]) == 0
    assert capsys.readouterr().out == "told 3\n"
    assert main([*words, "tell", "0", "--traceback"]) == 7
    assert main([*words, "tell", "three"]) == 2
    assert f"ganvae {' '.join([*words, 'tell'])} --help" in capsys.readouterr().err
    assert main(["plugins", "info", "acme"]) == 0
    assert f"ganvae {' '.join([*words, 'tell'])}   says a number" in capsys.readouterr().out


def test_an_error_of_a_verb_is_reported_as_one_of_ganvae_s(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    add(environment, "acme", "('fail', 'x_acme.verbs:fail', 'fails')")
    assert main(["fail"]) == 2
    assert capsys.readouterr().err == "error: there is nothing to tell.\n  tell something\n"


def test_a_builtin_verb_takes_precedence(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    add(environment, "acme", "('components', 'x_acme.verbs:tell', 'says a number')")
    assert main(["components", "prior"]) == 0
    assert "builtin/normal" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "says a number" not in capsys.readouterr().out


def test_a_verb_of_two_plugins_is_refused_until_one_is_left_out(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    for plugin in ("acme", "other"):
        add(environment, plugin, f"('tell', 'x_{plugin}.verbs:tell', 'says a number')")
    assert main(["tell", "3"]) == 2
    assert "'tell' is added by several plugins: acme, other." in capsys.readouterr().err
    assert main(["--disable-plugin", "other", "tell", "3"]) == 0
    assert main(["--help"]) == 0


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("x_acme.verbs:gone", "verb 'tell' of x-acme 1.0 cannot be imported: AttributeError"),
        ("x_acme.nowhere:tell", "verb 'tell' of x-acme 1.0 cannot be imported: ModuleNotFoundError"),
        ("x_acme.verbs:plain", "verb 'tell': x_acme.verbs:plain is not a click command."),
    ],
)
def test_a_verb_that_cannot_be_loaded_is_the_plugin_s_error(
    target: str, expected: str, environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    add(environment, "acme", f"('tell', '{target}', 'says a number')")
    assert main(["tell", "3"]) == 3
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("('Tell', 'a:b', 'c')", "'Tell'"),
        ("('tell', 'a.b', 'c')", "package.module:Name"),
        ("('tell', 'a:b', '')", "summary"),
        ("('tell', 'a:b', 'c', group='runs')", "there is no group 'runs'"),
        ("('tell', 'a:b', 'c'), CommandSpec('tell', 'a:c', 'd')", "given twice"),
    ],
)
def test_a_wrong_verb_breaks_its_plugin(arguments: str, expected: str, environment: Environment) -> None:
    add(environment, "acme", arguments)
    plugin = environment.found("acme")
    assert plugin.state == "broken"
    assert expected in plugin.reason


def test_an_unknown_verb_gets_the_nearest_of_a_plugin_s(
    environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    add(environment, "acme", "('flatten', 'x_acme.verbs:tell', 'flattens')")
    assert main(["flaten"]) == 2
    assert "Did you mean 'flatten'?" in capsys.readouterr().err


def test_help_answers_in_spite_of_a_wrong_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--registry", "gone.toml", "--help"]) == 0
    assert "train a model" in capsys.readouterr().out
