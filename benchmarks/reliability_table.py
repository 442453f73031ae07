"""The table of docs/reliability.md, from what the benchmarks have measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import describe

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reliability.md"
BEGINS, ENDS = "<!-- table begins -->", "<!-- table ends -->"
NOT_MEASURED = "*not measured*"
SETTLED_SHARE = 0.1
"""The first part of a long run, in which memory is still taken for the first time."""

TOGETHER = " in two processes"
"""The ending of a case of the crash test."""

Row = tuple[str, str, str, str]
"""What is asked, the aim, what was found, and how to measure it."""


def rows(results: Path = HERE / "results") -> Iterator[Row]:
    """A row for each aim."""
    attacks = _stored(results / "crash_test.json")
    yield crashes(attacks)
    yield signals(attacks)
    figures = _stored(results / "reliability.json")
    yield from checkpoint_cost(figures.get("checkpoints"))
    yield memory(figures.get("memory"))
    yield processes(_stored(results / "processes.json"))


def crashes(stored: dict[str, Any]) -> Row:
    """How often a process was killed, and whether what came of it was the same each time."""
    cells = ("kills at random moments, then resumed", "all equal bit for bit")
    tallies = [(recipe, tally) for seed in stored.get("seeds", {}).values() for recipe, tally in seed.items()]
    if not tallies:
        return (*cells, NOT_MEASURED, "`benchmarks/crash_test.py --kills 1000`")

    def total(key: str) -> int:
        return sum(tally.get(key, 0) for _, tally in tallies)

    kills = total("kills")
    found = (
        f"**{kills:,} of {kills:,}** equal ({total('before_first'):,} before the first checkpoint,"
        f" {total('while_writing'):,} while one was written, {total('stage_ends'):,} between stages,"
        f" {total('ending'):,} at the last pictures and the last checkpoint); {_recipes(tallies)}"
    )
    return (*cells, found, "`benchmarks/crash_test.py --kills 1000`")


def signals(stored: dict[str, Any]) -> Row:
    """How often a process was asked to stop, and answered with the code that it has to."""
    cells = (
        "SIGINT, SIGTERM and SIGHUP at random moments, then resumed",
        "130, 143 and 129; all equal bit for bit",
    )
    command = "`benchmarks/crash_test.py --kills 0 --signals 200`"
    tallies = [(recipe, tally) for seed in stored.get("seeds", {}).values() for recipe, tally in seed.items()
               if tally.get("signals")]  # fmt: skip
    if not tallies:
        return (*cells, NOT_MEASURED, command)
    sent = sum(tally["signals"] for _, tally in tallies)
    return (*cells, f"**{sent:,} of {sent:,}**; {_recipes(tallies)}", command)


def _recipes(tallies: list[tuple[str, dict[str, Any]]]) -> str:
    """How many recipes were tried, and with how many processes."""
    names = {recipe if "/" in recipe else f"{recipe}/{recipe}" for recipe, _ in tallies}
    together = any(name.endswith(TOGETHER) for name in names)
    count = len({name.removesuffix(TOGETHER) for name in names})
    return f"{count} recipes{', also two processes' if together else ''}"


def checkpoint_cost(stored: dict[str, Any] | None) -> Iterator[Row]:
    """The share of the time that checkpoints take."""
    command = "`benchmarks/reliability.py --only checkpoints`"
    if stored is None:
        yield "a checkpoint every 100 steps, VAE on MNIST", "under 3 % of the time", NOT_MEASURED, command
        return
    for comparison in stored["found"]:
        ratio = comparison["ratio"]
        # The ratio is of speeds, the cost is in time: of the time of training without.
        costs = [100 * (1 / ratio[key] - 1) for key in ("median", "upper_quartile", "lower_quartile")]
        measured = "measured" in comparison["first"]
        yield (
            f"{comparison['first']}, every 100 steps, VAE on MNIST",
            "" if measured else "under 3 % of the time",
            f"**{costs[0]:.1f} %** ({costs[1]:.1f} to {costs[2]:.1f}; {comparison['pairs']} pairs of"
            f" {comparison['steps']} steps, {_threads(comparison['threads'])})",
            command,
        )


def memory(stored: dict[str, Any] | None) -> Row:
    """How far the resident memory moved after it had settled."""
    cells = ("memory over 50,000 steps, 500 checkpoints", "does not grow")
    command = "`benchmarks/reliability.py --only memory`"
    if stored is None:
        return (*cells, NOT_MEASURED, command)
    found = stored["found"]
    settled = [one for one in found["readings"] if one["step"] >= SETTLED_SHARE * found["steps"]]
    first, last = (settled[position]["resident_bytes"] / 2**20 for position in (0, -1))
    most = max(one["resident_bytes"] for one in settled) / 2**20
    return (
        *cells,
        f"**{last - first:+.1f} MiB** from step {settled[0]['step']:,} ({first:.0f} MiB) to {settled[-1]['step']:,},"
        f" at most {most:.0f} MiB",
        command,
    )


def processes(stored: dict[str, Any]) -> Row:
    """How much faster two processes train than one."""
    cells = (
        "two processes on two cores next to one process on one, DCGAN on MNIST",
        "at least 1.6 times as fast",
    )
    command = "`benchmarks/processes.py`"
    if not stored:
        return (*cells, NOT_MEASURED, command)
    (found,) = stored["comparisons"]
    ratio = found["ratio"]
    spread = f"{ratio['lower_quartile']:.2f} to {ratio['upper_quartile']:.2f}"
    work = f"{found['pairs']} pairs of {found['steps']} steps"
    return (*cells, f"**{ratio['median']:.2f} times** ({spread}; {work})", command)


def machines(results: Path = HERE / "results") -> str:
    """What the figures were taken on, a sentence."""
    stored = [*_stored(results / "reliability.json").values()]
    stored += [
        tally
        for seed in _stored(results / "crash_test.json").get("seeds", {}).values()
        for tally in seed.values()
    ]
    alone = _stored(results / "processes.json")
    where = [one["machine"] for one in [*stored, *([alone] if alone else [])]]
    lines = dict.fromkeys(describe(one) for one in where)
    return f"Taken on {'; '.join(lines)}." if lines else ""


def table(results: Path = HERE / "results") -> str:
    """The whole table."""
    lines = ["| what | aim | found | how |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(results)]
    return "\n".join([*lines, "", machines(results)]).rstrip()


def with_table(text: str, new: str) -> str:
    """A page with the table between its marks."""
    before, _, rest = text.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return f"{before}{BEGINS}\n{new}\n{ENDS}{after}"


def write_page() -> None:
    """Put the table into the page."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count != 1)}"


def _stored(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
