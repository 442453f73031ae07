"""Data in several files: shards, columns of images, arrays; and packing rows once."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from ganvae_core.builtin.sources.arrays import as_source
from ganvae_core.builtin.sources.parts import parts
from ganvae_core.data.packed import RECORD, pack
from ganvae_core.errors import DataError
from ganvae_core.store.files import cache_folder

IMAGES = [np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8) for number in range(7)]
ROWS = np.stack(IMAGES).transpose(0, 3, 1, 2)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def table(images: list[np.ndarray]) -> pa.Table:
    column = [{"bytes": encoded(image), "path": None} for image in images]
    return pa.table({"image": column, "label": [number % 2 for number in range(len(images))]})


def shards(folder: Path) -> None:
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for row in range(number * 4, min(7, number * 4 + 4)):
                for ending, data in (("png", encoded(IMAGES[row])), ("cls", str(row % 2).encode())):
                    member = tarfile.TarInfo(f"a/{row:04}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def parquet(folder: Path) -> None:
    pyarrow.parquet.write_table(table(IMAGES[:4]), folder / "0.parquet")
    pyarrow.parquet.write_table(table(IMAGES[4:]), folder / "1.parquet")


def hugging_face(folder: Path) -> None:
    names = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    (folder / "dataset_info.json").write_text(json.dumps({"features": names}))
    written = table(IMAGES)
    file = folder / "data-00000-of-00001.arrow"
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, written.schema) as writer:
        writer.write_table(written)


def arrays(folder: Path) -> None:
    np.save(folder / "a.npy", ROWS[:3])
    np.save(folder / "b.npy", ROWS[3:])
    np.save(folder / "labels.npy", np.arange(7) % 2)


@pytest.mark.parametrize("write", [shards, parquet, hugging_face, arrays])
def test_rows_of_all_parts_are_read_in_any_order(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    for _ in range(2):  # the second time from the cache
        source = parts(path=str(tmp_path))
        assert np.array_equal(source.rows(np.array([6, 0, 3])).x, ROWS[[6, 0, 3]])
        assert np.array_equal(source.rows(slice(2, 5)).x, ROWS[2:5])
        assert source.spec.classes == (("cat", "dog") if write is hugging_face else ("0", "1"))
        assert source.spec.modality == "image"


def test_images_without_a_class_have_no_labels(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    file = next(tmp_path.glob("*.arrow"))
    rows = table(IMAGES)
    for label in ([-1] * 7, [0, 1, None, 1, 0, 0, 1]):
        unlabelled = rows.set_column(1, "label", pa.array(label, pa.int64()))
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, unlabelled.schema) as writer:
            writer.write_table(unlabelled)
        source = parts(path=str(tmp_path))
        assert source.spec.classes is None
        assert any("have no class in 'label', so there are no labels" in note for note in source.notes)


def test_headers_of_a_replaced_file_are_read_again(tmp_path: Path) -> None:
    def write(side: int) -> None:
        images = [encoded(np.zeros((side, side, 3), np.uint8)).ljust(200, b"\0") for _ in range(3)]
        pyarrow.parquet.write_table(pa.table({"image": images}), tmp_path / "0.parquet")

    write(4)
    assert parts(path=str(tmp_path)).spec.shape == (3, 4, 4)
    write(5)
    assert parts(path=str(tmp_path)).spec.shape == (3, 5, 5)


def test_members_of_a_replaced_shard_are_found_again(tmp_path: Path) -> None:
    shards(tmp_path)
    assert len(parts(path=str(tmp_path))) == 7
    indexes = sorted(cache_folder().glob("indexes/*"))
    (tmp_path / "1.tar").unlink()
    source = parts(path=str(tmp_path))
    assert np.array_equal(source.rows(slice(None)).x, ROWS[:4])
    assert sorted(cache_folder().glob("indexes/*")) == indexes


def test_slices_of_one_part_are_views(tmp_path: Path) -> None:
    arrays(tmp_path)
    source = parts(path=str(tmp_path))
    assert np.shares_memory(source.rows(slice(0, 2)).x, source.rows(slice(1, 3)).x)


def test_parts_that_differ_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.save(tmp_path / "b.npy", ROWS[:, :1])
    with pytest.raises(DataError, match=r"the parts differ: .*a\.npy .*b\.npy"):
        parts(path=str(tmp_path))


def test_rows_are_packed_and_an_interrupted_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvae_core.data.packed.CHUNK_BYTES", ROWS[:2].nbytes)
    source, folder, done = as_source(ROWS, ["b", "a"] * 3 + ["a"]), tmp_path / "packed", list[int]()

    def interrupted(count: int) -> None:
        done.append(count)
        if count == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, "x", folder, interrupted)
    with pytest.raises(DataError, match=r"has 4 of 7 rows: it was interrupted"):
        parts(path=str(folder))
    with pytest.raises(DataError, match="has other data in it"):
        pack(source, "y", folder, done.append)
    pack(source, "x", folder, done.append)
    assert done == [2, 4, 6, 7]
    packed = parts(path=str(folder))
    assert packed.spec == source.spec
    assert np.array_equal(packed.rows(slice(None)).x, ROWS)
    assert np.array_equal(np.asarray(packed.labels()), np.asarray(source.labels()))
    assert json.loads((folder / RECORD).read_text())["done"] == 7


def test_masks_are_packed(tmp_path: Path) -> None:
    source = as_source(np.ma.masked_less(np.array([[1.0, 2.0, 3.0], [-9.0, 4.0, 3.5], [3.0, 6.0, 9.0]]), 0))
    pack(source, "x", tmp_path / "packed", lambda done: None)
    rows = parts(path=str(tmp_path / "packed")).rows(slice(None))
    assert rows.mask is not None
    assert rows.mask.sum() == 8
