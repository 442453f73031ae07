"""Whether training is warned of rightly: the recipes that ship must not be, and training that goes wrong must.

Trains each on the digits, with samples measured every 250 steps, and writes the table of docs/numbers.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import ganvae_core as gv
from ganvae_core.watching import ALIKE_STEPS, NEAREST, SPREAD, WON

PAGE = Path(__file__).parents[1] / "docs" / "numbers.md"
TABLE_BEGINS, TABLE_ENDS = "<!-- table begins -->", "<!-- table ends -->"
CRITIC = "critic/accuracy"

WORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{name: (name, {}) for name in ("vae", "ae", "gan", "cgan", "infogan", "bigan")},
    "ssgan": ("ssgan", {"engine.steps": 1500}),
    "dcgan": ("dcgan", {"engine.steps": 5000}),
    "gan objective=wgan-gp": ("gan", {"objective": "wgan-gp", "engine.steps": 3000}),
    "gan objective=hinge": ("gan", {"objective": "hinge", "engine.steps": 3000}),
    "gan objective=minimax optimizers.default.lr=0.01": (
        "gan", {"objective": "minimax", "optimizers.default.lr": 0.01, "engine.steps": 3000},
    ),
    "vae objective.beta=4": ("vae", {"objective.beta": 4}),
}  # fmt: skip
"""The recipes at their own steps, or at fewer where a step is slow; other losses; and two that go wrong."""


def row(title: str, plugin: str, overrides: Mapping[str, Any], folder: Path) -> str:
    """One line of the table."""
    settings = {
        "engine.samples_every": 250,
        "engine.device": "cpu",
        "engine.checkpoint_every": 10**6,
        **overrides,
    }
    run = gv.train(plugin, out=folder / "run", overrides=settings)
    later = [record for record in run.metrics if record["step"] > ALIKE_STEPS]
    measured = [[record[name] for record in later if name in record] for name in (SPREAD, NEAREST)]
    # A prior that is fitted after training gives no sample before, and the last ones are in no interval.
    lowest = [f"{min(values):.2g}" if values else "–" for values in measured]
    accuracies = [record[CRITIC] for record in later if CRITIC in record]
    highest = f"{max(accuracies):.3f}" if accuracies else "–"
    texts = [text for record in run.metrics for text in record.get("warnings", [])]
    said = ", ".join("won" if "the critic has won" in text else "alike" for text in texts) or "–"
    won = str(longest(run.metrics)) if accuracies else "–"
    return f"| `{title}` | {run.step:,} | {lowest[0]} | {lowest[1]} | {highest} | {won} | {said} |"


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
@click.option("--write", is_flag=True, help="Write the table into docs/numbers.md.")
def main(names: tuple[str, ...], write: bool) -> None:
    """Train the recipes, and see which of them are warned of."""
    lines = [
        "| training on digits | steps | lowest spread | lowest nearest | highest accuracy | steps won | warned |",
        "|---|---|---|---|---|---|---|",
    ]
    for title in names or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row(title, *WORKS[title], Path(folder)))
        click.echo(lines[-1])
    if write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(TABLE_BEGINS)
        _, _, after = rest.partition(TABLE_ENDS)
        table = "\n".join(lines)
        PAGE.write_text(f"{before}{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
