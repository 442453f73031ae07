"""The table of docs/numbers.md says what was found of the rows as they are now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import false_alarms
import pytest
from click.testing import CliRunner
from false_alarms import NOT_RUN, OUTDATED, PAGE, definition, line, main, read, table
from reliability_table import BEGINS, ENDS, with_table

FOUND: dict[str, Any] = {
    "steps": 3000, "spread": 0.017, "nearest": 0.5, "accuracy": None, "won_steps": None, "warned": ["alike"],
    "machine": {"cpu": "C", "cores": 2, "python": "3.11", "torch": "2.13", "date": "2026-01-01"},
}  # fmt: skip


def test_the_page_has_the_table_of_the_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGINS) == text.count(ENDS) == 1
    assert text == with_table(text, table(read())), "python benchmarks/false_alarms.py --write-table"


def test_a_row_has_its_figures_as_long_as_its_settings_are_the_same() -> None:
    now = definition("vae objective.beta=4")
    found = {**FOUND, "definition": now}
    shown = line("vae objective.beta=4", found)
    assert shown == "| `vae objective.beta=4` | 3,000 | 0.017 | 0.5 | – | – | alike |"
    assert "Taken on C, 2 cores" in table({"vae objective.beta=4": found})
    assert now["objective"]["beta"] == 4
    assert OUTDATED in line("vae", found)
    assert NOT_RUN in line("vae", None)


def test_only_what_has_no_figures_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, ran = tmp_path / "found.json", list[str]()

    def measure(title: str) -> dict[str, Any]:
        ran.append(title)
        return {**FOUND, "definition": definition(title)}

    monkeypatch.setattr(false_alarms, "measure", measure)
    outdated = {"vae": {**FOUND, "definition": {"plugin": "another"}}, "ae": measure("ae")}
    results.write_text(json.dumps(outdated))
    ran.clear()
    words = [word for title in ("ae", "vae", "gan") for word in ("--work", title)]
    for expected in (["vae", "gan"], []):
        done = CliRunner().invoke(main, [*words, "--results", str(results)], catch_exceptions=False)
        assert (done.exit_code, ran) == (0, expected)
        ran.clear()
    assert list(json.loads(results.read_text())) == ["vae", "ae", "gan"]
