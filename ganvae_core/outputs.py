"""What a model makes, written to the file that a person names: the ending says how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ganvae_core.errors import ConfigurationError
from ganvae_core.figures import as_image, as_pixels, save_image
from ganvae_core.runs import whole_file
from ganvae_core.types import DataSpec

ARRAYS = (".npz", ".npy")
TABLES = (".csv", ".parquet")


def check_ending(path: Path, spec: DataSpec) -> None:
    """Refuse a file that such data cannot be written to, before anything is computed.

    Raises:
        ConfigurationError: the ending is unknown, or not for this data; the message lists those that are.
    """
    possible = endings(spec)
    if is_folder(path) and spec.modality == "image":
        return
    if path.suffix.lower() not in possible:
        folder = (
            ", or a folder (a name without an ending) of one PNG each" if spec.modality == "image" else ""
        )
        raise ConfigurationError(
            f"-o {path}: {spec.modality} data is not written to '{path.suffix or path.name}'.",
            f"endings: {', '.join(possible)}{folder}",
        )


def endings(spec: DataSpec) -> tuple[str, ...]:
    """The endings of files that such data can be written to."""
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
        names = spec.columns or tuple(f"column_{number + 1}" for number in range(rows.shape[1]))
        columns = {name: rows[:, number] for number, name in enumerate(names)}
        _write_table(path, {**columns, **(further or {})})


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Named arrays as a .npz file."""
    with whole_file(path) as file:
        save: Callable[..., None] = np.savez
        save(file, **arrays)


def write_images(folder: Path, images: np.ndarray) -> None:
    """Images (N, C, H, W) in [0, 1] as ``00000.png``, ``00001.png`` … in a folder, in their own size."""
    for number, image in enumerate(images):
        save_image(as_image(as_pixels(image)), folder / f"{number:05d}.png")


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
