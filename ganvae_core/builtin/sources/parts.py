"""Data in parts, read as it is needed: tar shards, columns of encoded images, arrays in several files, packed rows."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ganvae_core.builtin.sources.describe import Scale, describe
from ganvae_core.builtin.sources.idx import read_idx
from ganvae_core.builtin.sources.images import Fit, suffixes
from ganvae_core.builtin.sources.paths import existing, existing_file, existing_folder, readable
from ganvae_core.builtin.sources.pictures import (
    Encoded,
    Pictures,
    Treatment,
    digest,
    store_table,
    stored_table,
)
from ganvae_core.builtin.sources.storage import Joined
from ganvae_core.builtin.sources.stored import Labels, StoredSource, encode_labels
from ganvae_core.data.packed import GROUPS, LABELS, MASK, RECORD, X
from ganvae_core.data.specifications import read_spec
from ganvae_core.errors import DataError, did_you_mean
from ganvae_core.interfaces import Source
from ganvae_core.store.files import cache_folder, whole_path

LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label", "cls")
DATASET, DATASETS = "dataset_info.json", "dataset_dict.json"

_COMPUTE: Any = pc
"""Arrow's functions, which are made when it is imported."""
_ERRORS = (pa.ArrowException, tarfile.TarError, ValueError, KeyError)


def parts(
    *,
    path: str,
    part: str | None = None,
    image: str | None = None,
    label: str | None = None,
    scale: Scale = "auto",
    resize: int | None = None,
    fit: Fit = "crop",
    grayscale: bool | None = None,
    max_pixels: int | None = None,
    skip_corrupt: bool = False,
) -> Source:
    """Tar shards in WebDataset's layout, Parquet files or a Hugging Face dataset with a column of images, arrays in
    several .npy or IDX files, or what ``ganvae data prepare`` has packed.

    Args:
        path: the folder, or a .tar file
        part: of a dictionary of Hugging Face datasets; default: train
        image: the column of images; default: the only one
        label: the column of labels; default: one called label or the like; empty for none
        scale: how values become a model's, as with single arrays
        resize: side of the square that each image is scaled to
        fit: what becomes of other proportions: crop, pad or stretch
        grayscale: make all images gray, or none of them; default: gray where all are
        max_pixels: of one image; by default Pillow's limit
        skip_corrupt: take the next image in place of one that cannot be read
    """
    folder = existing(path, "folder")
    treatment = Treatment(resize, fit, grayscale, "first", max_pixels, skip_corrupt, scale)
    if (folder / RECORD).is_file():
        return Packed(path)
    files = _files(folder)
    if any(file.suffix == ".tar" for file in files):
        return _pictures(_Shards([file for file in files if file.suffix == ".tar"], folder), treatment)
    with readable(folder, *_ERRORS):
        table = _table(folder, files, part, path)
    if table is not None:
        return _pictures(_Column(table, folder, image, label), treatment)
    arrays = [
        file for file in files if file.suffix == ".npy" or "ubyte" in file.name or file.suffix == ".idx"
    ]
    if not arrays:
        raise DataError(
            f"'{path}' has no parts: .tar, .parquet, .arrow, .npy or IDX files.", "ganvae components source"
        )
    return ArrayParts(arrays, path, scale)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    with readable(path):
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))


class _Labelled(Encoded):
    """Pictures with a label each, or none, by number."""

    label: np.ndarray | None
    classes: Sequence[str] | None = None
    notes: tuple[str, ...] = ()

    def labels(self, numbers: np.ndarray) -> Labels | None:
        if self.label is None:
            return None
        found = encode_labels(self.label[numbers], len(numbers), f"'{self.place}'")
        if self.classes is None:
            return found
        return Labels(found.indices, tuple(self.classes[int(number)] for number in found.classes))


def _pictures(encoded: _Labelled, treatment: Treatment) -> Pictures:
    return Pictures(encoded, treatment, np.arange(len(encoded)), encoded.notes)


class _Shards(_Labelled):
    """The images in tar files, each beside its ``.cls``, a number. Where members lie is stored in the user's cache."""

    def __init__(self, files: Sequence[Path], place: Path) -> None:
        state = _state(files)
        version = {b"version": digest(state).encode()}
        found = stored_table(str(place.resolve()))
        if found is None or found.schema.metadata != version:
            found = _members(files).replace_schema_metadata(version)
            store_table(str(place.resolve()), found)
        names: list[str] = found.column("name").to_pylist()
        if not names:
            raise DataError(f"there is no image in the tar files of '{place}'.")
        self._shard, self._offset, self._size = (
            found.column(name).to_numpy() for name in ("shard", "offset", "size")
        )
        stamps = np.stack([self._size, np.array([time for *_, time in state])[self._shard]], 1)
        super().__init__(names, stamps, str(place.resolve()))
        self._files = files
        labels = found.column("label").to_numpy()
        self.label = labels if (labels >= 0).all() else None
        if self.label is None and (labels >= 0).any():
            self.notes = (
                f"{(labels < 0).sum():,} of {len(labels):,} images have no .cls, so there are no labels",
            )

    def get(self, number: int) -> bytes:
        with self._files[self._shard[number]].open("rb") as file:
            file.seek(int(self._offset[number]))
            return file.read(int(self._size[number]))

    def called(self, number: int) -> str:
        return f"{self.names[number]} of {self._files[self._shard[number]]}"


def _members(files: Sequence[Path]) -> pa.Table:
    """The images of tar files: name, shard, offset, size and label (-1 where there is none)."""
    endings, rows, labels = suffixes(), list[dict[str, Any]](), dict[tuple[int, str], int]()
    for shard, file in enumerate(files):
        with readable(file, tarfile.TarError, ValueError), tarfile.open(file, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                stem, _, ending = path.name.partition(".")
                key = (shard, str(path.with_name(stem) if stem else path))
                if not member.isfile() or not stem:
                    continue
                if f".{ending.rpartition('.')[2].lower()}" in endings:
                    place = {"shard": shard, "offset": member.offset_data, "size": member.size}
                    rows.append({"name": member.name, "key": key, **place})
                elif ending == "cls" and (stream := tar.extractfile(member)) is not None:
                    labels[key] = int(stream.read())
    for row in rows:
        row["label"] = labels.get(row["key"], -1)
    whole = [(name, pa.int64()) for name in ("shard", "offset", "size", "label")]
    return pa.Table.from_pylist(rows, pa.schema([("name", pa.string()), *whole]))


@dataclass(frozen=True)
class _Table:
    """A table whose columns are mapped from files.

    Args:
        table: of Arrow.
        version: a number that changes when one of the files changes.
        names: of the classes of each column of class numbers.
        notes: sentences for users.
    """

    table: Any
    version: int
    names: Mapping[str, Sequence[str]]
    notes: tuple[str, ...] = ()


def _table(folder: Path, files: Sequence[Path], part: str | None, path: str) -> _Table | None:
    """The table of a Hugging Face dataset or of Parquet files; None where there is neither."""
    notes: tuple[str, ...] = ()
    if (folder / DATASETS).is_file():
        splits: list[str] = json.loads((folder / DATASETS).read_text())["splits"]
        chosen = part or ("train" if "train" in splits else splits[0])
        if chosen not in splits:
            raise DataError(
                f"data.part: '{path}' has no part '{chosen}'.{did_you_mean(chosen, splits)}",
                f"parts: {', '.join(splits)}",
            )
        notes = (f"'{chosen}' is read of the parts {', '.join(splits)}:  data.part=NAME reads another",)
        folder = folder / chosen
    if (folder / DATASET).is_file():
        features: Mapping[str, Any] = json.loads((folder / DATASET).read_text()).get("features") or {}
        names = {name: feature.get("names") for name, feature in features.items() if "names" in feature}
        arrow = sorted(folder.glob("*.arrow"))
        pieces = [pa.ipc.open_stream(pa.memory_map(str(file))).read_all() for file in arrow]
        return _Table(pa.concat_tables(pieces), _version(arrow), names, notes) if pieces else None
    parquet = [file for file in files if file.suffix == ".parquet"]
    if not parquet:
        return None
    unpacked = cache_folder() / "unpacked" / f"{digest(_state(parquet))}.arrow"
    if not unpacked.exists():
        _unpack(parquet, unpacked)
    table = pa.ipc.open_file(pa.memory_map(str(unpacked))).read_all()
    return _Table(table, _version(parquet), {}, notes)


def _state(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Each file's path, size in bytes and time of its last change."""
    return [(str(file.resolve()), (status := file.stat()).st_size, status.st_mtime_ns) for file in files]


def _version(files: Sequence[Path]) -> int:
    return int(digest(_state(files))[:15], 16)


def _unpack(files: Sequence[Path], into: Path) -> None:
    """Write the rows of Parquet files to one file that can be mapped, since single rows of Parquet cannot be read."""
    into.parent.mkdir(parents=True, exist_ok=True)
    schema = pyarrow.parquet.read_schema(files[0])
    with (
        whole_path(into) as draft,
        pa.OSFile(str(draft), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for file in files:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(1_000):
                writer.write_batch(batch)


class _Column(_Labelled):
    """A column of encoded images, as bytes or as Hugging Face's ``{bytes, path}``."""

    def __init__(self, table: _Table, place: Path, image: str | None, label: str | None) -> None:
        schema = table.table.schema
        images = [field.name for field in schema if _holds_bytes(field.type)]
        if (image is not None and image not in images) or (image is None and len(images) != 1):
            raise DataError(
                f"'{place}' has {f'no column {image!r}' if image else 'not exactly one column'} of encoded images.",
                f"columns: {', '.join(f'{field.name} ({field.type})' for field in schema)}",
                f"columns of bytes: {', '.join(images)}:  data.image=NAME"
                if images
                else "a table of numbers is one file",
            )
        column = table.table.column(image or images[0])
        self._chunks = [
            chunk.field("bytes") if pa.types.is_struct(chunk.type) else chunk
            for chunk in column.chunks
            if len(chunk)
        ]
        self._starts = np.cumsum([0, *(len(chunk) for chunk in self._chunks)])
        sizes = [
            _COMPUTE.binary_length(chunk).fill_null(0).to_numpy(zero_copy_only=False)
            for chunk in self._chunks
        ]
        lengths = np.concatenate(sizes)
        stamps = np.stack([lengths.astype(np.int64), np.full(len(lengths), table.version, np.int64)], 1)
        super().__init__(
            [f"row {row}" for row in range(len(lengths))], stamps, f"{place.resolve()}:{image or images[0]}"
        )
        self._place = place
        chosen = (
            label if label is not None else next((name for name in LABEL_COLUMNS if name in schema.names), "")
        )
        if chosen and chosen not in schema.names:
            raise DataError(
                f"data.label: '{place}' has no column '{chosen}'.{did_you_mean(chosen, schema.names)}",
                f"columns: {', '.join(schema.names)}",
            )
        self.label = np.asarray(table.table.column(chosen).to_numpy()) if chosen else None
        self.classes = table.names.get(chosen)
        self.notes = table.notes
        if self.label is not None and self.classes is not None:
            # An image without a class has the number -1, or none.
            missing = int((~(self.label >= 0)).sum())
            if missing:
                self.label = None
                self.notes += (
                    f"{missing:,} of {len(lengths):,} images have no class in '{chosen}', so there are no labels",
                )

    def get(self, number: int) -> bytes:
        chunk = int(np.searchsorted(self._starts, number, "right")) - 1
        return self._chunks[chunk][number - int(self._starts[chunk])].as_py() or b""

    def called(self, number: int) -> str:
        return f"row {number} of '{self._place}'"


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


@final
class ArrayParts(StoredSource):
    """Arrays of equal shape and type in several files, one after the other, which are mapped.

    Labels are those of a file ``labels.npy`` beside them.
    """

    def __init__(self, files: Sequence[Path], path: str, scale: Scale) -> None:
        beside = [file for file in files if file.name == LABELS]
        arrays = {str(file): _mapped(file) for file in files if file.name != LABELS}
        first = next(iter(arrays))
        for name, x in arrays.items():
            if x.shape[1:] != arrays[first].shape[1:] or x.dtype != arrays[first].dtype:
                raise DataError(
                    f"the parts differ: {first} has rows of shape {arrays[first].shape[1:]} and type"
                    f" {arrays[first].dtype}, and {name} of {x.shape[1:]} and {x.dtype}.",
                    f"one file by itself:  --data {name}",
                )
        described = describe(Joined(list(arrays.values())), f"'{path}'", scale=scale)
        labels = encode_labels(_mapped(beside[0]), len(described.x), str(beside[0])) if beside else None
        super().__init__(*described, labels=labels)


def _mapped(file: Path) -> np.ndarray:
    if file.suffix != ".npy":
        return read_idx(file)
    with readable(file, ValueError, EOFError):
        return np.asarray(np.load(existing_file(str(file)), mmap_mode="r", allow_pickle=False))


@final
class Packed(StoredSource):
    """Rows that ``ganvae data prepare`` has packed, mapped from one file."""

    def __init__(self, path: str) -> None:
        folder = existing_folder(path)
        record = _record(folder)
        if record["done"] < record["rows"]:
            raise DataError(
                f"'{path}' has {record['done']:,} of {record['rows']:,} rows: it was interrupted.",
                f"go on with it:  ganvae data prepare {record['source']} -o {path}",
            )
        with readable(folder, ValueError, KeyError, TypeError):
            spec = read_spec(record["spec"])
            x, labels, observed, groups = (
                np.load(folder / name, mmap_mode="r", allow_pickle=False)
                if (folder / name).exists()
                else None
                for name in (X, LABELS, MASK, GROUPS)
            )
        if x is None:
            raise DataError(f"'{path}' is incomplete: its file {X} is missing.")
        super().__init__(
            x, spec, tuple(record["notes"]), record["why"], observed, labels=labels, groups=groups
        )


def _record(folder: Path) -> dict[str, Any]:
    with readable(folder / RECORD, ValueError):
        return json.loads((folder / RECORD).read_text("utf-8"))
