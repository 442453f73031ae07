"""Whether training is warned of rightly: the recipes that ship must not be, and training that goes wrong must.

Trains each on the digits, with samples measured every 250 steps. What was found is kept row by row in
results/false_alarms.json, and what is there with the same settings is not run again. The table of docs/numbers.md is
written from that.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

sys.path.append(str(Path(__file__).parent / "papers"))  # where training.py serves the figures too

from machine import describe, machine
from reliability_table import with_table
from training import covers

import ganvae_core as gv
from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import nest
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.collapse import ALIKE_STEPS, NEAREST, SPREAD, WON
from ganvae_core.store.files import whole_file

RESULTS = Path(__file__).parent / "results" / "false_alarms.json"

PAGE = Path(__file__).parents[1] / "docs" / "numbers.md"
HEAD = (
    "| training on digits | steps | lowest spread | lowest nearest | highest accuracy | steps won | warned |"
)
NOT_RUN, OUTDATED = "*not run*", "*not run since the recipe changed*"
WARNINGS = {
    "the critic has won": "won",
    "worse on held-out rows": "worse",
    "has collapsed": "collapsed",
    "samples ": "alike",
}
"""A part of each warning, and its word in the table."""
CRITIC = "critic/accuracy"

WORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{name: (name, {}) for name in ("vae", "ae", "gan", "cgan", "infogan", "bigan")},
    "ssgan": ("ssgan", {"engine.steps": 1500}),
    "dcgan": ("dcgan", {"engine.steps": 5000}),
    "gan objective=wgan-gp": ("gan", {"objective": "wgan-gp", "engine.steps": 3000}),
    "gan objective=hinge": ("gan", {"objective": "hinge", "engine.steps": 3000}),
    "gan objective=minimax optimizers.default.lr=0.03": (
        "gan", {"objective": "minimax", "optimizers.default.lr": 0.03, "engine.steps": 3000},
    ),
    "vae objective.beta=4": ("vae", {"objective.beta": 4}),
}  # fmt: skip
"""The recipes at their own steps, or at fewer where a step is slow; other losses; and two that go wrong."""


def settings(title: str) -> dict[str, Any]:
    """What is set in a row beside its recipe."""
    return {
        "engine.samples_every": 250,
        "engine.device": "cpu",
        "engine.checkpoint_every": 10**6,
        **WORKS[title][1],
    }


def definition(title: str) -> dict[str, Any]:
    """What the figures of a row follow from, as plain JSON; the metrics of a run change nothing that is trained."""
    layer = nest(list(settings(title).items()))
    configuration = configure(installed_plugins(), WORKS[title][0], None, [layer])
    tree = json.loads(json.dumps(configuration.as_dict(), default=str))
    del tree["metrics"]
    return tree


def measure(title: str) -> dict[str, Any]:
    """Train a row, and see how near it came to being warned of. What it has no figure of is null."""
    with tempfile.TemporaryDirectory() as folder:
        run = gv.train(WORKS[title][0], out=Path(folder) / "run", overrides=settings(title))
        step, metrics = run.step, run.metrics
    later = [record for record in metrics if record["step"] > ALIKE_STEPS]
    # A prior that is fitted after training gives no sample before, and the last ones are in no interval.
    spread, nearest, accuracies = ([record[name] for record in later if name in record]
                                   for name in (SPREAD, NEAREST, CRITIC))  # fmt: skip
    texts = [text for record in metrics for text in record.get("warnings", [])]
    return {
        "steps": step,
        "spread": min(spread, default=None),
        "nearest": min(nearest, default=None),
        "accuracy": max(accuracies, default=None),
        "won_steps": longest(metrics) if accuracies else None,
        "warned": [next(word for part, word in WARNINGS.items() if part in text) for text in texts],
        "machine": machine(),
        "definition": definition(title),
    }


def is_valid(title: str, found: Mapping[str, Any]) -> bool:
    """Whether figures of a row are of its settings as they are now."""
    return covers(definition(title), found["definition"])


def line(title: str, found: Mapping[str, Any] | None) -> str:
    """One line of the table."""
    if found is None or not is_valid(title, found):
        return f"| `{title}` | {NOT_RUN if found is None else OUTDATED} | | | | | |"
    forms = {"steps": ",", "spread": ".2g", "nearest": ".2g", "accuracy": ".3f", "won_steps": ""}
    cells = ["–" if found[name] is None else format(found[name], form) for name, form in forms.items()]
    return "| " + " | ".join([f"`{title}`", *cells, ", ".join(found["warned"]) or "–"]) + " |"


def table(stored: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole table, and what its figures were taken on."""
    lines = [HEAD, "|---" * 7 + "|", *(line(title, stored.get(title)) for title in WORKS)]
    valid = [stored[title] for title in WORKS if title in stored and is_valid(title, stored[title])]
    where = dict.fromkeys(_described(found["machine"]) for found in valid)
    return "\n".join([*lines, "", f"Taken on {'; '.join(where)}." if where else ""]).rstrip()


def _described(where: Mapping[str, Any]) -> str:
    return describe(where) if "cpu" in where else f"a machine that was not written down, {where['date']}"


def read(results: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """What was found, by row."""
    return json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}


def write_page(results: Path = RESULTS) -> None:
    """Put the table into docs/numbers.md."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(read(results))), encoding="utf-8")


def longest(records: list[dict[str, Any]]) -> int:
    """The most steps in a row in which the critic had won."""
    most, since = 0, None
    for record in records:
        since = None if record.get(CRITIC, 0.0) < WON else record["step"] if since is None else since
        most = max(most, 0 if since is None else record["step"] - since)
    return most


@click.command()
@click.option(
    "--work", "names", multiple=True, type=click.Choice(list(WORKS)), help="This alone; repeatable."
)
@click.option("--results", default=RESULTS, show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--write-table", "only_table", is_flag=True, help="Write docs/numbers.md's table; train nothing."
)
def main(names: tuple[str, ...], results: Path, only_table: bool) -> None:
    """Train the recipes that have no figures yet, and see which of them are warned of."""
    for title in () if only_table else names or WORKS:
        stored = read(results)
        if title in stored and is_valid(title, stored[title]):
            continue
        stored[title] = measure(title)
        with whole_file(results) as file:
            file.write(json.dumps(stored, indent=1).encode() + b"\n")
        click.echo(line(title, stored[title]))
    if results == RESULTS:
        write_page()


if __name__ == "__main__":
    main()
