"""What was measured: one JSON file a figure, written whole after each run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import covers

from ganvae_core import RunError
from ganvae_core.store.files import whole_file

FOLDER = Path(__file__).parent / "results"
Tree = Mapping[str, Any]


@dataclass
class Results:
    """The results of one figure.

    ``rows`` holds for each row's name its ``definition``, which is what its values follow from, and its ``seeds``: by
    seed, the ``values`` and what they were taken on.
    """

    path: Path
    rows: dict[str, dict[str, Any]]

    def seeds(self, row: str, definition: Tree) -> dict[int, Tree]:
        """The results of a row by seed, as far as they follow from this definition."""
        stored = self.rows.get(row)
        if stored is None or not covers(definition, stored["definition"]):
            return {}
        return {
            int(seed): result
            for seed, result in sorted(stored["seeds"].items(), key=lambda pair: int(pair[0]))
        }

    def is_outdated(self, row: str, definition: Tree | None) -> bool:
        """Whether there are results of a row that follow from another definition."""
        return row in self.rows and (definition is None or not self.seeds(row, definition))

    def add(self, row: str, definition: Tree, seed: int, result: Tree) -> None:
        """Store one seed's result; those of another definition are dropped."""
        kept = {str(other): value for other, value in self.seeds(row, definition).items()}
        self.rows[row] = {"definition": dict(definition), "seeds": {**kept, str(seed): dict(result)}}
        with whole_file(self.path) as file:
            file.write((json.dumps({"rows": self.rows}, indent=1) + "\n").encode())


def read_results(figure: str) -> Results:
    """The results of a figure as far as there are any.

    Raises:
        RunError: the file is damaged.
    """
    path = FOLDER / f"{figure}.json"
    if not path.exists():
        return Results(path, {})
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (ValueError, KeyError) as error:
        raise RunError(
            f"'{path}' does not hold what is written there: {error!r}", "remove it or restore it"
        ) from None
    return Results(path, rows)
