"""Writes command-line.md from the commands themselves:  python docs/generate.py

The page says nothing that the commands do not say, so a test holds it against what this writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from ganvae_core.cli.frame import Settings
from ganvae_core.cli.main import ganvae
from ganvae_core.plugins import Catalogue, installed_plugins

PAGE = Path(__file__).with_name("command-line.md")
HEAD = """\
# The command line

<!-- Written by docs/generate.py from the commands themselves. Change their help, then run it. -->

`ganvae VERB --help` says the same in a terminal.

| verb | what it does |
|---|---|
"""
EVERYWHERE = """\
## Everywhere

These go with `ganvae` itself and with every verb.

"""
TAIL = """\
Results go to standard output; progress, notes and errors go to standard error. `ganvae run` prints the run directory,
and with `--quiet` nothing else, so `run=$(ganvae run --plugin vae --quiet)` works in a script.

`GANVAE_DISABLE_PLUGINS=a,b` leaves plugins out as `--disable-plugin` does, and `GANVAE_REGISTRY=FILE` names a registry
file as `--registry` does. `GANVAE_CACHE_DIR=FOLDER` is where data sets are downloaded to, in place of the user's cache.

### Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | something went wrong after the first step |
| 2 | something was wrong that could be known before the first step: a name, a setting, the data |
| 3 | a plugin that is needed is installed but not ready |
| 130 | stopped by Ctrl-C; the run was saved |
| 143 | stopped by a termination signal; the run was saved |

An error is one line that says what was wrong, and under it what to do. `--traceback` shows where it comes from.

### Shell completion

Put the line of your shell into its start-up file:

- bash: `eval "$(_GANVAE_COMPLETE=bash_source ganvae)"`
- zsh: `eval "$(_GANVAE_COMPLETE=zsh_source ganvae)"`
- fish: `_GANVAE_COMPLETE=fish_source ganvae | source`
"""


def page() -> str:
    """The page, as it is to be."""
    # With its settings: click keeps the help option that the first context asks for.
    own = tuple(plugin for plugin in installed_plugins().plugins if plugin.distribution == "ganvae")
    settings = Settings(catalogue=Catalogue(own))
    context = click.Context(ganvae, info_name="ganvae", obj=settings, **ganvae.context_settings)
    found = [(name, ganvae.get_command(context, name)) for name in ganvae.list_commands(context)]
    verbs = [(name, verb) for name, verb in found if verb is not None]
    shown = ganvae.builtin() | ganvae.added(context)
    summaries = [f"| [`{name}`](#ganvae-{name}) | {shown[name]} |" for name, _ in verbs]
    parts = [HEAD + "\n".join(summaries)]
    common = {option for parameter in ganvae.params for option in parameter.opts}
    for name, verb in verbs:
        parts += described(verb, click.Context(verb, info_name=name, parent=context), common)
    parts.append(EVERYWHERE + options(ganvae, set()) + "\n\n" + TAIL.rstrip())
    return "\n\n".join(parts) + "\n"


def described(
    command: click.Command, context: click.Context, common: set[str], level: int = 2
) -> Iterator[str]:
    """A command's part of the page, and those of the commands below it."""
    yield f"{'#' * level} {context.command_path}"
    usage = command.get_usage(context).removeprefix("Usage: ").replace(" [OPTIONS]", "")
    yield f"```text\n{' '.join(usage.split())}\n```"
    yield from explained(command)
    table = options(command, common)
    if table:
        yield table
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                child = click.Context(below, info_name=name, parent=context)
                yield from described(below, child, common, level + 1)


def explained(command: click.Command) -> Iterator[str]:
    """A command's help: paragraphs as prose, its examples as a console block."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        lines = paragraph.splitlines()
        if lines[0].strip() == "\b":
            yield "```console\n" + "\n".join(f"$ {line.strip()}" for line in lines[1:]) + "\n```"
        else:
            yield paragraph.replace("``", "`").replace("*", r"\*")


def options(command: click.Command, common: set[str]) -> str:
    """A table of the options that a command has of its own; empty where it has none."""
    rows = [
        f"| `{', '.join(option.opts)}{value(option)}` | {option.help}{limits(option)} |"
        for option in command.params
        if isinstance(option, click.Option) and not common & set(option.opts)
    ]
    return "\n".join(["| option | what it does |", "|---|---|", *rows]) if rows else ""


def value(option: click.Option) -> str:
    """What follows the option."""
    return "" if option.is_flag or not option.metavar else f" {option.metavar}".replace("|", " or ")


def limits(option: click.Option) -> str:
    """The smallest value, where there is one."""
    lowest = getattr(option.type, "min", None)
    if lowest is None:
        return ""
    return f" More than {lowest}." if getattr(option.type, "min_open", False) else f" At least {lowest}."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
