"""``ganvae plugins check``: holds a plugin to the conformance kit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import Seconds
from ganvae_core.cli.frame import settings as everywhere
from ganvae_core.cli.output import print_json, table

if TYPE_CHECKING:
    from ganvae_kit.supervision import Report


@click.command("check")
@click.argument("target", metavar="NAME|PATH")
@click.argument("settings", metavar="[KIND/NAME:KEY=VALUE]…", nargs=-1)
@click.option(
    "--only", metavar="CHECK", multiple=True, help="Run this check and what it needs; may be repeated."
)
@click.option(
    "--seconds", type=Seconds(), default=60.0, show_default=True, help="Time that one check may take."
)
@click.option("--all", "show_all", is_flag=True, help="Show what passed, too, check by check.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    target: str,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    seconds: float,
    show_all: bool,
    as_json: bool,
) -> int:
    """Hold a plugin to every promise that the core relies on.

    NAME is an installed plugin; PATH is the folder of a distribution, which need not be installed. Components whose
    options have no defaults are given some:  source/audio:data.path=tone.wav

    The checks run in a process of their own, without network, within a bounded time. The exit code is 1 if one fails.
    """
    from rich.console import Console

    from ganvae_kit.supervision import check_plugins

    given = [parsed(setting) for setting in settings]
    with Console(stderr=True).status("starting") as status:  # drawn in a terminal alone

        def progress(report: Report) -> None:
            total = sum(plugin["checks"] for plugin in report.plugins)
            last = report.outcomes[-1]
            status.update(f"{len(report.outcomes)} of {total}   {last['subject']}   {last['check']}")

        report = check_plugins(
            target,
            settings=given,
            only=only,
            check_seconds=seconds,
            disabled=everywhere().disabled,
            progress=progress,
        )
    if as_json:
        print_json({"passed": report.passed, "plugins": report.plugins, "outcomes": report.outcomes})
    else:
        show(report, show_all)
    return 0 if report.passed else 1


def parsed(setting: str) -> tuple[str, str, str]:
    """Component, key and value of ``KIND/NAME:KEY=VALUE``.

    Raises:
        ConfigurationError: it has another form.
    """
    from ganvae_core.errors import ConfigurationError

    label, colon, rest = setting.partition(":")
    key, sign, value = rest.partition("=")
    if not (colon and sign and key and "/" in label):
        raise ConfigurationError(
            f"'{setting}' is not of the form KIND/NAME:KEY=VALUE.",
            "for example  source/audio:data.path=tone.wav",
        )
    return label, key, value


def show(report: Report, show_all: bool) -> None:
    """Print a table with a line for each component, then what is wrong, and last how it stands."""
    for plugin in report.plugins:
        own = [outcome for outcome in report.outcomes if outcome["plugin"] == plugin["plugin"]]
        click.echo(f"{plugin['plugin']}   {plugin['origin']}")
        click.echo()
        table(
            _lines(own, show_all),
            ("", "check", "result", "") if show_all else ("", "passed", "failed", "not checked"),
        )
        click.echo()
        for outcome in own:
            if outcome["state"] == "failed":
                _show_failure(outcome)
        if not show_all:
            _show_reasons(own)
    failed, seconds = report.of("failed"), sum(outcome["seconds"] for outcome in report.outcomes)
    if failed:
        click.echo(f"{len(failed)} of {len(report.outcomes)} checks failed, in {seconds:.1f} s")
    else:
        passed, left = len(report.of("passed")), len(report.of("not checked"))
        click.echo(f"{passed} checks passed, {left} did not apply, in {seconds:.1f} s")


def _lines(outcomes: list[dict[str, Any]], show_all: bool) -> list[tuple[object, ...]]:
    if show_all:
        return [
            (outcome["subject"], outcome["check"], outcome["state"], outcome["message"].partition("\n")[0])
            for outcome in outcomes
        ]
    lines: list[tuple[object, ...]] = []
    for subject in dict.fromkeys(outcome["subject"] for outcome in outcomes):
        states = [outcome["state"] for outcome in outcomes if outcome["subject"] == subject]
        lines.append((subject, *(states.count(state) or "" for state in ("passed", "failed", "not checked"))))
    return lines


def _show_failure(outcome: dict[str, Any]) -> None:
    click.echo(f"failed: {outcome['check']}")
    first, *rest = str(outcome["message"]).splitlines()
    click.echo(f"  {first}")
    if outcome["file"]:
        click.echo(f"  look at {outcome['file']}:{outcome['line']}")
    for line in rest:
        click.echo(f"  {line}")
    click.echo()


def _show_reasons(outcomes: list[dict[str, Any]]) -> None:
    """Why something was not checked, each reason once; what only waits for something that failed says nothing new."""
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome["state"] == "not checked" and not outcome["message"].endswith("comes first"):
            reasons.setdefault(outcome["message"], []).append(f"{outcome['subject']} {outcome['check']}")
    for reason, names in reasons.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        click.echo(f"not checked: {shown}")
        click.echo(f"  {reason}")
    if reasons:
        click.echo()
