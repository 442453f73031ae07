"""docs/results.md is what the figures and their stored results say, and nothing else."""

from __future__ import annotations

import table


def test_the_page_is_that_of_the_figures_and_their_results() -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), "python benchmarks/papers/table.py"
