"""Rows of a source in a folder, from which they are mapped: what ``ganvae data prepare`` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ganvae_core.errors import DataError
from ganvae_core.interfaces import Source
from ganvae_core.store.files import whole_path
from ganvae_core.types import DataSpec

RECORD, X, LABELS, MASK, GROUPS = "ganvae-data.json", "x.npy", "labels.npy", "observed.npy", "groups.npy"
CHUNK_BYTES = 2**26


def pack(source: Source, name: str, folder: Path, advance: Callable[[int], None]) -> None:
    """Write the rows of a source to a folder, from which they are mapped.

    An interrupted call goes on after the last chunk that was written.

    Args:
        source: whose rows are read in order.
        name: of the source with its options, as it is typed.
        folder: a new one, or one that was begun with the same source.
        advance: called with the number of rows that are done.

    Raises:
        DataError: the folder has other data in it.
    """
    spec: DataSpec = source.spec
    record: dict[str, Any] = {
        "source": name, "rows": len(source), "done": 0, "spec": spec.as_dict(),
        "why": source.why, "notes": list(source.notes),
    }  # fmt: skip
    if folder.exists() and any(folder.iterdir()):
        before = _begun(folder)
        if {**before, "done": 0} != json.loads(json.dumps(record)):
            raise DataError(
                f"-o {folder}: this folder has other data in it.", "name a folder that does not exist yet"
            )
        record = before
    folder.mkdir(parents=True, exist_ok=True)
    first, begun = source.rows(np.arange(1)), record["done"] > 0

    def opened(file: str, row: np.ndarray) -> np.ndarray:
        if begun:
            return np.load(folder / file, mmap_mode="r+", allow_pickle=False)
        return np.lib.format.open_memmap(folder / file, "w+", row.dtype, (len(source), *row.shape[1:]))

    x = opened(X, first.x)
    observed = None if first.mask is None else opened(MASK, first.mask)
    if (labels := source.labels()) is not None:
        np.save(folder / LABELS, labels)
    if source.groups is not None:
        np.save(folder / GROUPS, source.groups)
    count = max(1, CHUNK_BYTES // first.x.nbytes)
    while record["done"] < len(source):
        start = record["done"]
        rows = source.rows(np.arange(start, min(start + count, len(source))))
        stop = start + len(rows.x)
        x[start:stop] = rows.x
        x.flush()  # pyright: ignore[reportAttributeAccessIssue]
        if observed is not None and rows.mask is not None:
            observed[start:stop] = rows.mask
            observed.flush()  # pyright: ignore[reportAttributeAccessIssue]
        record["done"] = stop
        with whole_path(folder / RECORD) as draft:
            draft.write_text(json.dumps(record, indent=1), "utf-8")
        advance(stop)


def _begun(folder: Path) -> dict[str, Any]:
    """The record of a folder that was begun; empty where there is none that can be read."""
    try:
        found = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
