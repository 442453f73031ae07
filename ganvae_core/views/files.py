"""What a model makes, written to the file that a person names: the ending says how."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ganvae_core.data.memory import available_memory
from ganvae_core.errors import ConfigurationError
from ganvae_core.store.files import whole_file, writing
from ganvae_core.types import DataSpec
from ganvae_core.views.pictures import TILE, as_image, as_pixels

ARRAYS = (".npz", ".npy")
TABLES = (".csv", ".parquet")
BYTES_A_VALUE = 12
"""A sample is held in float32, and in float64 on the way to its own units."""


def check_output(path: Path, what: str, possible: Sequence[str], *, folder: bool = False) -> None:
    """Refuse a place that cannot be written to, or should not be, before anything is computed.

    Args:
        path: where to write.
        what: will be written, in words: ``samples of a table``.
        possible: endings of files that hold it.
        folder: whether a folder of PNG files can hold it, too.

    Raises:
        ConfigurationError: the ending is unknown, or not for this; the folder is not empty; there can be no such file.
    """
    if folder and is_folder(path):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            kind = "folder is not empty" if path.is_dir() else "is a file"
            raise ConfigurationError(
                f"-o {path}: this {kind}, so nothing is written there.",
                "name a folder that does not exist yet",
            )
    elif path.suffix.lower() not in possible or path.is_dir():
        raise ConfigurationError(
            f"-o {path}: {what} are not written to {'a folder' if is_folder(path) else repr(path.suffix)}.",
            f"endings: {', '.join(possible)}"
            + (", or a folder (a name without an ending) of one PNG each" if folder else ""),
        )
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        reason = "not writable" if above.is_dir() else "a file and no folder"
        raise ConfigurationError(f"-o {path}: '{above}' is {reason}.")


def check_memory(count: int, spec: DataSpec, *, grid: bool) -> None:
    """Refuse more samples than this machine can hold, before it is brought to its knees.

    Args:
        count: of the samples.
        spec: what one is.
        grid: whether they are drawn as one picture.

    Raises:
        ConfigurationError: they take more memory than there is.
    """
    size = math.prod(spec.shape)
    if grid and spec.modality == "image":
        size = max(size, spec.shape[0] * TILE**2)
    needed = BYTES_A_VALUE * count * size
    there = available_memory()
    if needed > there:
        raise ConfigurationError(
            f"{count:,} samples take {needed / 2**30:,.1f} GiB of memory, and {there / 2**30:,.1f} are left here.",
            "draw fewer at a time, each part with another --seed",
        )


def reconstruction_endings(spec: DataSpec) -> tuple[str, ...]:
    """The endings of files that such data and its reconstructions can be written to."""
    if spec.modality == "image":
        return (".png", ".npz")
    return (".npz",) if spec.modality == "array" or len(spec.shape) > 1 else (*TABLES, ".npz")


def sample_endings(spec: DataSpec) -> tuple[str, ...]:
    """The endings of files that samples of such data can be written to."""
    if spec.modality == "image":
        return (".png", *ARRAYS)
    if spec.modality == "array" or len(spec.shape) > 1:
        return ARRAYS
    return (*TABLES, ".png", *ARRAYS)


def is_folder(path: Path) -> bool:
    """Whether a name stands for a folder: it has no ending, or it is one already."""
    return not path.suffix or path.is_dir()


def write_rows(
    path: Path, rows: np.ndarray, spec: DataSpec, further: Mapping[str, np.ndarray] | None = None
) -> None:
    """Rows (N, *X) in the source's units as an array or a table.

    Args:
        path: .npz, .npy, .csv or .parquet.
        rows: what to write; called ``samples`` in a .npz.
        spec: whose columns name those of a table.
        further: more arrays by name, for a .npz, or columns (N,) for a table.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        with whole_file(path) as file:
            np.save(file, rows, allow_pickle=False)
    elif suffix == ".npz":
        write_arrays(path, {"samples": rows, **(further or {})})
    else:
        names = spec.columns or tuple(f"column_{number}" for number in range(rows.shape[1]))
        columns = {
            name: _whole(rows[:, number]) if number in spec.units.whole else rows[:, number]
            for number, name in enumerate(names)
        }
        for name, values in (further or {}).items():
            while name in columns:  # one of the user's own is called so
                name += "_"
            columns[name] = values
        _write_table(path, columns)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Named arrays as a .npz file."""
    with whole_file(path) as file:
        save: Callable[..., None] = np.savez
        save(file, **arrays)


def write_images(folder: Path, images: np.ndarray) -> None:
    """Images (N, C, H, W) in [0, 1] as ``00000.png``, ``00001.png`` … in their own size.

    The folder appears when it is complete, or not at all.

    Raises:
        TrainingError: it could not be written.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            (draft / "images").mkdir()
            for number, image in enumerate(images):
                as_image(as_pixels(image)).save(draft / "images" / f"{number:05d}.png")
            os.replace(draft / "images", folder)
        finally:
            shutil.rmtree(draft)


def _whole(values: np.ndarray) -> np.ndarray:
    """(N,) rounded values as integers, those beyond the largest one as that."""
    limits = np.iinfo(np.int64)
    return np.clip(values, limits.min, limits.max - 1023).astype(
        np.int64
    )  # the largest that float64 has below it


def _write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = pa.table({name: np.ascontiguousarray(values) for name, values in columns.items()})
    with whole_file(path) as file:
        if path.suffix.lower() == ".parquet":
            pyarrow.parquet.write_table(table, file)
        else:
            pyarrow.csv.write_csv(table, file)
