"""Writes command-line.md from the commands, and reference.md from signatures and docstrings:  python docs/generate.py

A test compares the pages with what this writes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from ganvae_core.cli.frame import Settings
from ganvae_core.cli.main import ganvae
from ganvae_core.plugins import Catalogue, installed_plugins

PAGE = Path(__file__).with_name("command-line.md")
REFERENCE = Path(__file__).with_name("reference.md")
REFERENCE_HEAD = """\
# Reference

<!-- Written by docs/generate.py from signatures and docstrings. Change those, then run it. -->

Signatures of what is used from Python, each with the first paragraph of its docstring; `help(gv.Model)` shows all of
it. The [interfaces](interfaces.md) that plugins implement have a page of their own. B is the batch, \\*X the shape of
an event of data, \\*Z of a code, \\*K of a condition, \\*S are leading sample axes; `?` marks what may be None.
"""
ENGINE = (
    "__init__",
    "fit",
    "save",
    "stop",
    "interrupt",
    "model",
    "results",
    "step_index",
    "samples_seen",
    "view",
)
RUN = (
    "path",
    "results",
    "metrics",
    "sample",
    "device",
    "objective",
    "open_data",
    "rows",
    "condition",
    "resume",
)
SECTIONS: dict[str, dict[str, Collection[str] | None]] = {
    "Training": {
        "train": None,
        "Engine": ENGINE,
        "EngineSettings": (),
        "OptimizerSettings": (),
        "Adam": ("__init__",),
        "AdamW": ("__init__",),
        "SGD": ("__init__",),
        "RMSprop": ("__init__",),
    },
    "Runs": {"load": None, "Run": RUN},
    "The model": {"Model": None, "DecodeModule": None, "EncodeModule": None},
    "Data": {"as_source": None, "split": None, "Split": None, "batches": None, "ModelSubject": ("__init__",)},
    "Pictures": {"save_picture": None},
    "Distributions": {
        "DiagonalNormal": (),
        "Dirac": (),
        "TorchPosterior": (),
        "TorchPrior": ("__init__",),
        "TorchObserved": (),
        "kl": None,
        "register_kl": None,
        "squared_error": None,
        "sum_event": None,
    },
    "Networks": {
        "MLPGenerator": ("__init__",),
        "MLPEncoder": ("__init__",),
        "MLPCritic": ("__init__",),
        "ResNetGenerator": ("__init__",),
        "ResNetEncoder": ("__init__",),
        "ResNetCritic": ("__init__",),
        "QuantisedEncoder": ("__init__", "indices", "codes", "statistics", "usage", "learn"),
        "FeatureCritic": None,
        "CriticHead": None,
        "centred": None,
        "check_condition": None,
        "normalise_spectrally": None,
        "AdaptiveAugmentation": None,
    },
}
"""Public names by section, with the members of a class that are shown; None shows all public ones."""
MODULES = {
    "gv.latent": "ganvae_core.latent",
    "gv.losses": "ganvae_core.losses",
    "gv.penalties": "ganvae_core.builtin.penalties",
    "gv.divergences": "ganvae_core.builtin.divergences",
    "gv.schedule": "ganvae_core.builtin.schedule",
}
"""Public modules, of which everything public is shown."""
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


def reference() -> str:
    """The page of signatures."""
    public = importlib.import_module("ganvae_core")
    parts = [REFERENCE_HEAD.rstrip()]
    for title, names in SECTIONS.items():
        stubs = (stub(definition(getattr(public, name)), members) for name, members in names.items())
        parts.append(f"## {title}\n\n```pyi\n" + "\n\n".join(stubs) + "\n```")
    for title, name in MODULES.items():
        module = importlib.import_module(name)
        source = Source(inspect.getsource(module))
        own = (
            (node, source)
            for node in source.tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
        )
        from_elsewhere = (definition(getattr(module, each)) for each in getattr(module, "__all__", ()))
        stubs = (stub(found, None) for found in (*from_elsewhere, *own))
        about = paragraphs(inspect.getdoc(module) or "")
        parts.append(f"## {title}\n\n{about}\n\n```pyi\n" + "\n\n".join(stubs) + "\n```")
    return "\n\n".join(parts) + "\n"


class Source:
    """The text of a module, with its syntax tree."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.tree = ast.parse(text)


Definition = tuple[ast.ClassDef | ast.FunctionDef, Source]


def definition(value: object) -> Definition:
    """The definition of a class or function, with its module."""
    source = Source(inspect.getsource(importlib.import_module(value.__module__)))
    name = getattr(value, "__name__", "")
    found = (node for node in source.tree.body if getattr(node, "name", None) == name)
    node = next(found)
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    return node, source


def stub(found: Definition, members: Collection[str] | None) -> str:
    """A definition without its body, as it is formatted in the source."""
    node, source = found
    lines = [f"@{ast.unparse(each)}" for each in node.decorator_list if ast.unparse(each) in SHOWN_DECORATORS]
    lines += textwrap.dedent("\n".join(source.lines[node.lineno - 1 : node.body[0].lineno - 1])).splitlines()
    first = (ast.get_docstring(node) or "").partition("\n\n")[0]
    if first:
        lines += textwrap.indent(f'"""{first}"""', "    ").splitlines()
    if isinstance(node, ast.FunctionDef):
        return "\n".join(lines) if first else "\n".join(lines) + " ..."
    for below in (*node.body, *inherited_options(node, source)):
        if isinstance(below, ast.AnnAssign) and is_dataclass(node):
            lines += source.lines[below.lineno - 1 : below.end_lineno]
        elif isinstance(below, ast.FunctionDef) and is_shown(below.name, members):
            lines += ["", *textwrap.indent(stub((below, source), None), "    ").splitlines()]
    return "\n".join(lines)


def inherited_options(node: ast.ClassDef, source: Source) -> list[ast.FunctionDef]:
    """The constructor that a class without one has from a private base of its module, which is not on the page."""
    private = {ast.unparse(base) for base in node.bases if ast.unparse(base).startswith("_")}
    bases = [each for each in source.tree.body if isinstance(each, ast.ClassDef) and each.name in private]
    found = [
        below
        for each in (node, *bases)
        for below in each.body
        if isinstance(below, ast.FunctionDef) and below.name == "__init__"
    ]
    return [] if found and found[0] in node.body else found[:1]


SHOWN_DECORATORS = {"property", "classmethod", "dataclass(frozen=True)"}


def is_dataclass(node: ast.ClassDef) -> bool:
    return any(ast.unparse(each).startswith("dataclass") for each in node.decorator_list)


def is_shown(name: str, members: Collection[str] | None) -> bool:
    return name in members if members is not None else name == "__init__" or not name.startswith("_")


def paragraphs(text: str) -> str:
    return text.replace("``", "`").replace("*", r"\*")


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
        f"| `{'`, `'.join([*option.opts, *option.secondary_opts])}{value(option)}` | {option.help}{limits(option)} |"
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and not common & set(option.opts)
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
    REFERENCE.write_text(reference(), encoding="utf-8")
