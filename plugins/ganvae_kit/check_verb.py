"""``ganvae plugins check``: checks a plugin against its contract."""

from __future__ import annotations

import faulthandler
import io
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import current_catalogue
from ganvae_core.cli.output import counted, print_json, table
from ganvae_core.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from ganvae_kit.checks import Check, Outcome, Subject
    from ganvae_kit.models import Settings
    from ganvae_kit.subjects import PluginUnderTest


@click.command("check")
@click.argument("target", metavar="NAME|PATH")
@click.argument("settings", metavar="[KIND/NAME:KEY=VALUE]…", nargs=-1)
@click.option(
    "--only", metavar="CHECK", multiple=True, help="Run this check and what it needs; may be repeated."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time limit of a single check.",
)
@click.option("--all", "show_all", is_flag=True, help="Show every check with its result.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    target: str,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    seconds: float,
    show_all: bool,
    as_json: bool,
) -> int:
    """Check that a plugin keeps every promise that the core relies on.

    NAME is an installed plugin; PATH is the folder of a distribution, which need not be installed. Components whose
    options have no defaults are given some:  source/audio:data.path=tone.wav

    There is no network during the checks. The exit code is 1 if one fails.
    """
    from rich.console import Console

    from ganvae_kit import Given, held, open_plugins

    for name in only:
        with_needs(name)
    plugins = open_plugins(target, Given(settings=typed_settings(settings)), current_catalogue())
    outcomes: dict[PluginUnderTest, list[Outcome]] = {plugin: [] for plugin in plugins}
    faulthandler.enable(sys.__stderr__ or 2)  # a crash names the line
    # The line is drawn in a terminal only, and what plugins print is dropped.
    with Console(stderr=True).status("starting") as status, redirect_stdout(io.StringIO()):
        for plugin in plugins:
            for subject in plugin.subjects:
                for each in chosen(subject, only):
                    status.update(f"{subject.label}   {each.name}")
                    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or 2)
                    outcomes[plugin].append(held(each, subject))
                    faulthandler.cancel_dump_traceback_later()
    failed = any(outcome.state == "failed" for found in outcomes.values() for outcome in found)
    if as_json:
        print_json({"passed": not failed, "outcomes": [
            {"plugin": plugin.plugin.name, **outcome.as_dict()} for plugin in plugins for outcome in outcomes[plugin]
        ]})  # fmt: skip
    else:
        for plugin, found in outcomes.items():
            show(plugin, found, show_all)
    return 1 if failed else 0


def chosen(subject: Subject, only: Sequence[str]) -> list[Check]:
    """The checks of a subject: all, or those that are asked for and the ones they need."""
    from ganvae_kit import checks_of

    wanted = {name for asked in only for name in with_needs(asked)}
    return [check for check in checks_of(subject) if not only or check.name in wanted]


def with_needs(name: str) -> set[str]:
    """A check's name, and the names of all that it needs.

    Raises:
        ConfigurationError: there is no such check.
    """
    from ganvae_kit import CHECKS

    if name not in CHECKS:
        raise ConfigurationError(f"there is no check '{name}'.{did_you_mean(name, CHECKS)}",
                                 f"checks: {', '.join(CHECKS)}")  # fmt: skip
    return {name}.union(*map(with_needs, CHECKS[name].needs))


def typed_settings(typed: Sequence[str]) -> dict[str, list[Settings]]:
    """Settings of the form ``KIND/NAME:KEY=VALUE``, by component.

    Raises:
        ConfigurationError: one has another form.
    """
    from ganvae_core.config.layers import Text, nest

    found: dict[str, dict[str, Any]] = {}
    for setting in typed:
        label, colon, rest = setting.partition(":")
        key, sign, value = rest.partition("=")
        if not (colon and sign and key and "/" in label):
            raise ConfigurationError(
                f"'{setting}' is not of the form KIND/NAME:KEY=VALUE.",
                "for example  source/audio:data.path=tone.wav",
            )
        found.setdefault(label, {})[key] = Text(value)
    for layer in found.values():
        nest(list(layer.items()))
    return {label: [layer] for label, layer in found.items()}


def show(plugin: PluginUnderTest, outcomes: Sequence[Outcome], show_all: bool) -> None:
    """Print a table with a line for each component, the failures, and a summary."""
    click.echo(f"{plugin.plugin.name}   {plugin.plugin.origin}\n")
    if show_all:
        every = [(o.subject, o.check, o.state, o.message.partition("\n")[0]) for o in outcomes]
        table(every, ("", "check", "result", ""))
    else:
        states = ("passed", "failed", "not checked")
        counts = Counter((outcome.subject, outcome.state) for outcome in outcomes)
        subjects = dict.fromkeys(outcome.subject for outcome in outcomes)
        table([(name, *(counts[name, state] or "" for state in states)) for name in subjects], ("", *states))
    click.echo()
    by_state = {
        state: [o for o in outcomes if o.state == state] for state in ("passed", "failed", "not checked")
    }
    failed, left = by_state["failed"], by_state["not checked"]
    for outcome in failed:
        first, *rest = outcome.message.splitlines()
        look = [f"look at {outcome.place}"] if outcome.place else []
        click.echo("\n  ".join([f"failed: {outcome.check}", first, *look, *rest]) + "\n")
    for outcome in left:
        if outcome.check == "makes":
            click.echo(f"not checked at all: {outcome.subject}\n  {outcome.message}\n")
    seconds = sum(outcome.seconds for outcome in outcomes)
    passed = (
        f"{len(failed)} of {counted(len(outcomes), 'check')} failed"
        if failed
        else f"{counted(len(by_state['passed']), 'check')} passed"
    )
    click.echo(f"{passed}, in {seconds:.1f} s")
    if left and not show_all:
        names = ", ".join(dict.fromkeys(outcome.check for outcome in left))
        click.echo(f"{len(left)} not checked ({names}); --all says why")
