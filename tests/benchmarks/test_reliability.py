"""The table of docs/reliability.md says what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reliability_table import BEGINS, ENDS, NOT_MEASURED, PAGE, rows, table, with_table

MACHINE = {"cpu": "C", "cores": 2, "python": "3.11", "torch": "2.13", "date": "2026-01-01"}


def speeds(ratio: float) -> dict[str, Any]:
    spread = {"median": ratio, "lower_quartile": ratio - 0.01, "upper_quartile": ratio + 0.01}
    return {"first": "checkpoints", "ratio": spread, "pairs": 7, "steps": 330, "threads": 1}


def test_the_page_has_the_table_of_the_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGINS) == text.count(ENDS) == 1
    assert text == with_table(text, table()), "python benchmarks/reliability.py --write-table"


def test_what_was_not_measured_is_said_so(tmp_path: Path) -> None:
    assert [row[2] for row in rows(tmp_path)] == [NOT_MEASURED] * 5


def test_each_figure_is_that_of_its_results(tmp_path: Path) -> None:
    old = {"kills": 100, "while_writing": 40, "before_first": 9, "runs": 30, "machine": MACHINE}
    new = {**old, "kills": 50, "while_writing": 20, "before_first": 0, "stage_ends": 3, "signals": 7}
    again = {"vae/vae in two processes": new, "gan/gan": {**new, "before_first": 9}}
    (tmp_path / "crash_test.json").write_text(json.dumps({"seeds": {"0": {"vae": old}, "1": again}}))
    readings = [
        {"step": step, "resident_bytes": (400 + step // 5000) * 2**20} for step in (0, 5_000, 25_000, 50_000)
    ]
    figures = {
        "checkpoints": {"machine": MACHINE, "found": [speeds(0.98)]},
        "memory": {"machine": MACHINE, "found": {"steps": 50_000, "readings": readings}},
    }
    (tmp_path / "reliability.json").write_text(json.dumps(figures))
    alone = {"machine": MACHINE, "comparisons": [speeds(1.75)]}
    (tmp_path / "processes.json").write_text(json.dumps(alone))
    crashes, signals, cost, memory, processes = [row[2] for row in rows(tmp_path)]
    assert crashes == (
        "**200 of 200** equal (18 before the first checkpoint, 80 while one was written, 6 between stages,"
        " 0 at the last pictures and the last checkpoint); 2 recipes, also two processes"
    )
    assert signals == "**14 of 14**; 2 recipes, also two processes"
    assert cost.startswith("**2.0 %** (1.0 to 3.1; 7 pairs of 330 steps, 1 thread)")
    assert memory.startswith("**+9.0 MiB** from step 5,000 (401 MiB) to 50,000, at most 410 MiB")
    assert processes == "**1.75 times** (1.74 to 1.76; 7 pairs of 330 steps)"
    assert "Taken on C, 2 cores" in table(tmp_path)
