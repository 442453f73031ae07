"""Arrays from files: what is read, how it is understood, and what is refused."""

from __future__ import annotations

import contextlib
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ganvae_core.builtin.sources.arrays import NPY_MAGIC, Arrays, as_source
from ganvae_core.builtin.sources.describe import Scale, describe
from ganvae_core.builtin.sources.digits import Digits
from ganvae_core.data.codec import Codec, in_own_units
from ganvae_core.data.specifications import read_spec
from ganvae_core.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 6, 7), dtype=np.uint8)


def save(folder: Path, x: np.ndarray, name: str = "x.npy") -> str:
    np.save(folder / name, x)
    return str(folder / name)


def test_digits_are_the_real_ones_in_their_own_units() -> None:
    source = Digits()
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert x.shape == (1797, 1, 8, 8)
    assert x.dtype == np.uint8
    assert x.max() == 16
    assert source.spec.units.scale == (16.0,)
    assert source.spec.range == (0.0, 1.0)
    assert source.spec.modality == "image"
    assert source.spec.classes == tuple("0123456789")
    assert source.spec.condition == (10,)
    assert labels is not None
    assert labels.dtype == np.int64
    assert labels[:10].tolist() == list(range(10))


def test_a_npy_file_is_mapped_and_slices_of_it_are_views(
    tmp_path: Path, is_mapped: Callable[[np.ndarray], bool]
) -> None:
    source = Arrays(path=save(tmp_path, IMAGES))
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    again = source.rows(slice(1, 3)).x
    assert x.shape == (5, 1, 6, 7)
    assert np.shares_memory(x, again)
    assert is_mapped(x)
    assert np.array_equal(again[:, 0], IMAGES[1:3])
    assert np.array_equal(source.rows(np.array([4, 0])).x[:, 0], IMAGES[[4, 0]])
    assert labels is None
    assert source.spec.condition is None
    assert source.spec.classes is None
    assert (source.spec.count, len(source)) == (5, 5)


@pytest.mark.parametrize(
    ("shape", "event", "modality"),
    [
        ((9,), (1,), "table"),
        ((9, 2), (2,), "points"),
        ((9, 3), (3,), "table"),
        ((9, 6, 7), (1, 6, 7), "image"),
        ((9, 3, 6, 7), (3, 6, 7), "image"),
        ((9, 6, 7, 3), (3, 6, 7), "image"),
        ((9, 3, 6, 3), (3, 6, 3), "image"),
        ((9, 8, 6, 7), (8, 6, 7), "array"),
        ((9, 2, 3, 4, 5), (2, 3, 4, 5), "array"),
    ],
)
def test_the_shape_tells_what_data_is(
    tmp_path: Path, shape: tuple[int, ...], event: tuple[int, ...], modality: str
) -> None:
    source = Arrays(path=save(tmp_path, RNG.normal(size=shape)))
    assert source.spec.shape == event
    assert source.spec.modality == modality
    assert source.rows(slice(None)).x.shape == (9, *event)


@pytest.mark.parametrize("missing", [False, True])
def test_halves_are_read_without_a_warning(missing: bool) -> None:
    x = RNG.normal(size=(50, 3)).astype(np.float16)
    source = as_source(np.ma.masked_greater(x, 1.0) if missing else x)  # warnings are errors
    assert source.spec.units.offset == pytest.approx(
        np.ma.masked_greater(x, 1.0 if missing else np.inf).mean(0, dtype=float)
    )


def test_channels_last_are_moved_to_the_front_without_a_copy(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (4, 6, 7, 3), dtype=np.uint8)
    rows = Arrays(path=save(tmp_path, x)).rows(slice(None)).x
    assert np.array_equal(rows, x.transpose(0, 3, 1, 2))
    assert rows.base is not None


@pytest.mark.parametrize(
    ("x", "offset", "scale", "bounds"),
    [
        (IMAGES, 0.0, 255.0, (0.0, 1.0)),
        (IMAGES > 99, 0.0, 1.0, (0.0, 1.0)),
        (np.linspace(0, 1, 48).reshape(3, 4, 4), 0.0, 1.0, (0.0, 1.0)),
        (np.linspace(-1, 1, 48).reshape(3, 4, 4), 0.0, 1.0, (-1.0, 1.0)),
        (np.linspace(-3, 5, 48, dtype=np.float32).reshape(3, 4, 4), -3.0, 8.0, (0.0, 1.0)),
        (np.arange(48, dtype=np.int32).reshape(3, 4, 4), 0.0, 47.0, (0.0, 1.0)),
        (np.arange(192).reshape(3, 64) / 255, 0.0, 1.0, (0.0, 1.0)),
        (np.arange(192, dtype=np.uint8).reshape(3, 64), 0.0, 255.0, (0.0, 1.0)),
        (IMAGES.astype(np.float32), 0.0, 255.0, (0.0, 1.0)),
        (IMAGES % 2, 0.0, 1.0, (0.0, 1.0)),
        (np.arange(48, dtype=np.uint8).reshape(3, 4, 4) % 5, 0.0, 4.0, (0.0, 1.0)),
        (np.eye(20, dtype=np.uint8), 0.0, 1.0, (0.0, 1.0)),
        (np.eye(3, dtype=np.float32), 0.0, 1.0, (0.0, 1.0)),
        (np.arange(48, dtype=np.uint16).reshape(3, 4, 4) * 87, 0.0, 4089.0, (0.0, 1.0)),
    ],
    ids=["uint8", "bool", "unit", "symmetric", "any float", "integers", "flat grey", "flat uint8", "float pixels",
         "masks", "classes", "one-hot bytes", "one-hot", "12 bits"],
)  # fmt: skip
def test_values_tell_the_range_and_the_scale(
    tmp_path: Path, x: np.ndarray, offset: float, scale: float, bounds: tuple[float, float]
) -> None:
    spec = Arrays(path=save(tmp_path, x)).spec
    assert spec.units.offset == (offset,)
    assert spec.units.scale == (scale,)
    assert spec.range == bounds
    assert spec.units.dtype == x.dtype.name


@pytest.mark.parametrize("columns", [2, 16, 17])
def test_a_table_is_standardised_by_column_and_has_no_bound(tmp_path: Path, columns: int) -> None:
    x = RNG.normal(size=(1000, columns)) * 7 + 1e6
    spec = Arrays(path=save(tmp_path, x)).spec
    np.testing.assert_allclose(spec.units.offset, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(spec.units.scale, x.std(0), rtol=1e-9)
    assert spec.range is None


@pytest.mark.parametrize("columns", [16, 17, 784])
def test_continuous_columns_between_0_and_1_are_a_table_and_no_bits(tmp_path: Path, columns: int) -> None:
    spec = Arrays(path=save(tmp_path, RNG.uniform(size=(9, columns)))).spec
    assert (spec.range, spec.modality) == (None, "table")


def test_flattened_images_are_shown_as_means_and_no_draws_of_0_and_1(tmp_path: Path) -> None:
    assert Arrays(path=save(tmp_path, RNG.integers(0, 256, (9, 64), dtype=np.uint8))).spec.modality == "array"


def test_counts_in_bytes_are_columns_of_a_table(tmp_path: Path) -> None:
    spec = Arrays(path=save(tmp_path, RNG.integers(0, 90, (50, 20), dtype=np.uint8))).spec
    assert (spec.range, spec.modality, spec.units.dtype) == (None, "table", "uint8")


@pytest.mark.parametrize(("scale", "wanted"), [("pixels", 255.0), ("range", 4.0), ("none", 1.0)])
def test_the_scale_can_be_chosen(tmp_path: Path, scale: Scale, wanted: float) -> None:
    x = np.arange(48, dtype=np.uint8).reshape(3, 4, 4) % 5
    assert Arrays(path=save(tmp_path, x), scale=scale).spec.units.scale == (wanted,)


def test_what_was_decided_is_said_with_the_option_that_changes_it(tmp_path: Path) -> None:
    source = Arrays(path=save(tmp_path, np.arange(48, dtype=np.uint8).reshape(3, 4, 4) % 5))
    assert source.why.startswith("bytes up to 4;  data.scale=range|standardise|pixels|none")
    assert "data.scale=pixels" in source.notes[0]


def test_channels_of_different_scale_are_scaled_apart(tmp_path: Path) -> None:
    x = np.stack([101_325 + 500 * RNG.normal(size=(9, 6, 7)), 15 + 8 * RNG.normal(size=(9, 6, 7))], axis=1)
    source = Arrays(path=save(tmp_path, x))
    units = source.spec.units
    assert units.axis == -3
    np.testing.assert_allclose(units.offset, x.min(axis=(0, 2, 3)))
    seen = Codec(source.spec, torch.device("cpu")).x(torch.from_numpy(x))
    np.testing.assert_allclose(seen.amax(dim=(0, 2, 3)), [1.0, 1.0])
    np.testing.assert_allclose(seen.amin(dim=(0, 2, 3)), [0.0, 0.0])
    np.testing.assert_allclose(in_own_units(seen.numpy(), source.spec), x, rtol=1e-5, atol=1e-4)
    assert read_spec(source.spec.as_dict()) == source.spec


def test_channels_of_colour_share_one_scale(tmp_path: Path) -> None:
    assert Arrays(path=save(tmp_path, RNG.uniform(0, 300, (9, 3, 6, 7)))).spec.units.axis == -1


def test_windows_of_a_series_are_no_images(tmp_path: Path) -> None:
    x = RNG.normal(size=(200, 24, 3)) * [1.0, 50.0, 0.1]
    source = Arrays(path=save(tmp_path, x))
    assert (source.spec.modality, source.spec.shape, source.spec.range) == ("array", (24, 3), None)
    np.testing.assert_allclose(source.spec.units.scale, x.std(axis=(0, 1)))
    assert "windows of a series" in source.notes[0]


def test_statistics_in_pieces_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvae_core.builtin.sources.describe._PIECE_VALUES", 21)
    x = RNG.normal(size=(1000, 3)) + 100
    x[700:] *= 5
    units = Arrays(path=save(tmp_path, x)).spec.units
    np.testing.assert_allclose(units.offset, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(units.scale, x.std(0), rtol=1e-12)


def test_a_constant_column_keeps_scale_1_and_says_so(tmp_path: Path) -> None:
    x = RNG.normal(size=(50, 3))
    x[:, 1] = 0.1
    source = Arrays(path=save(tmp_path, x))
    assert source.spec.units.scale[1] == 1.0
    assert source.spec.units.offset[1] == 0.1
    assert source.notes == ("column 1 is constant (0.1): kept with scale 1 and restored exactly",)


def test_many_constant_columns_are_counted_and_not_all_listed(tmp_path: Path) -> None:
    notes = Arrays(path=save(tmp_path, np.full((4, 30), 7.0))).notes
    assert len(notes) == 6
    assert notes[-1].startswith("25 more columns")


def test_constant_images_are_kept_with_scale_1(tmp_path: Path) -> None:
    source = Arrays(path=save(tmp_path, np.full((4, 5, 5), 7.0)))
    assert (source.spec.units.offset, source.spec.units.scale) == ((7.0,), (1.0,))
    assert "every value is 7" in source.notes[0]


def test_values_too_large_to_compute_with_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 1 are too large"):
        Arrays(path=save(tmp_path, np.array([[0.0, -1e300], [1.0, 1e300]])))
    with pytest.raises(DataError, match="too far apart"):
        Arrays(path=save(tmp_path, np.array([-1.5e308, 1.5e308]).reshape(2, 1, 1)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_row_and_column(
    tmp_path: Path, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvae_core.builtin.sources.describe._PIECE_VALUES", 6)
    x = np.zeros((9, 3))
    x[7, 2] = x[8, 0] = bad
    with pytest.raises(DataError, match=rf"row 7, column 2 \(counted from 0\) is {bad}"):
        Arrays(path=save(tmp_path, x))
    with pytest.raises(DataError, match=r"row 7 \(counted from 0\) holds"):
        Arrays(path=save(tmp_path, x.reshape(9, 3, 1)))


@pytest.mark.parametrize("dtype", [">f4", ">i2"])
def test_foreign_byte_order_becomes_native(tmp_path: Path, dtype: str) -> None:
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    rows = Arrays(path=save(tmp_path, x)).rows(slice(None)).x
    assert rows.dtype.isnative
    assert np.array_equal(rows[:, 0], x)


def test_fortran_order_is_understood(tmp_path: Path) -> None:
    x = np.asfortranarray(RNG.normal(size=(4, 5, 6)))
    np.savez_compressed(tmp_path / "x.npz", x=x)
    for path in (save(tmp_path, x), str(tmp_path / "x.npz")):
        assert np.array_equal(Arrays(path=path).rows(slice(None)).x[:, 0], x)


@pytest.mark.parametrize("name", ["labels", "y", "targets"])
def test_an_npz_brings_its_labels(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "x.npz", **{"data": IMAGES, name: np.array([7, 3, 7, 10, 3])})
    source = Arrays(path=str(tmp_path / "x.npz"))
    assert np.array_equal(source.rows(slice(None)).x[:, 0], IMAGES)
    assert source.spec.classes == ("3", "7", "10")
    assert source.spec.condition == (3,)
    labels = source.rows(slice(1, 4)).labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2]


def test_labels_can_be_another_array_another_file_or_none(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    np.savez(path, x=IMAGES, y=np.arange(5), kind=np.array(["b", "a", "b", "a", "a"]))
    beside = save(tmp_path, np.array([1, 1, 2, 2, 2]), "z.npy")
    assert Arrays(path=path, key="x", labels="kind").spec.classes == ("a", "b")
    assert Arrays(path=path, key="x", labels=beside).spec.classes == ("1", "2")
    assert Arrays(path=path, key="x", labels="").spec.classes is None
    assert Arrays(path=path, labels="kind").spec.shape == (1, 6, 7)
    assert Arrays(path=save(tmp_path, IMAGES), labels=beside).spec.classes == ("1", "2")


def test_a_sole_array_called_y_is_the_data(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", y=IMAGES)
    assert Arrays(path=str(tmp_path / "x.npz")).spec.classes is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "holds several arrays: images, other, labels"),
        ({"key": "image"}, "no array 'image'. Did you mean 'images'?"),
        ({"key": "images", "labels": "label"}, "no array 'label'. Did you mean 'labels'?"),
        ({"key": "other"}, "labels do not match: 'x.npz' has 4 labels for 5 rows"),
        ({"key": "other", "labels": "images"}, r"labels do not match: 'images' has shape \(5, 6, 7\)"),
    ],
)
def test_wrong_keys_and_labels_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", images=IMAGES, other=IMAGES, labels=np.arange(4))
    with pytest.raises(DataError, match=message):
        Arrays(path="x.npz", **options)


def test_several_arrays_hint_at_a_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=IMAGES, b=IMAGES)
    with pytest.raises(DataError) as caught:
        Arrays(path=str(tmp_path / "x.npz"))
    assert caught.value.hints == ("choose one:  data.key=a",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.array([0.5, 1, 2, 3, 4]), "has 0.5"), (np.array([1j] * 5), "values of type complex128")],
)
def test_labels_are_integers_or_strings(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "x.npz", x=IMAGES, y=labels)
    with pytest.raises(DataError, match=message):
        Arrays(path=str(tmp_path / "x.npz"))


def test_a_missing_file_is_answered_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path, IMAGES, "faces.npy")
    with pytest.raises(DataError, match=r"^there is no file 'face.npy'\. Did you mean 'faces.npy'\?$"):
        Arrays(path="face.npy")
    with pytest.raises(DataError, match=r"^there is no file 'photos/x.npy', nor a folder 'photos'\.$"):
        Arrays(path="photos/x.npy")


def test_a_folder_in_place_of_a_file_is_refused_with_the_files_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    save(tmp_path / "sub", IMAGES)
    with pytest.raises(DataError, match="'sub' is a folder") as caught:
        Arrays(path="sub")
    assert caught.value.hints == ("name the file:  --data sub/x.npy",)


def test_a_missing_path_is_asked_for() -> None:
    with pytest.raises(DataError, match=r"data\.path is missing"):
        Arrays()


def test_a_key_for_a_npy_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="single array"):
        Arrays(path=save(tmp_path, IMAGES), key="x")


@pytest.mark.parametrize("length", [0, 3, 20, 130, 150])
def test_a_npy_file_that_is_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = Path(save(tmp_path, IMAGES))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"x\.npy' (is empty|is neither|is truncated or damaged)"):
        Arrays(path=str(path))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_npz_file_that_is_cut_short_is_refused(tmp_path: Path, share: float, compressed: bool) -> None:
    path = tmp_path / "x.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=IMAGES)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match="truncated or damaged"):
        Arrays(path=str(path))


@pytest.mark.parametrize("position", range(0, 700, 23))
def test_a_flipped_byte_never_raises_anything_but_a_data_error(tmp_path: Path, position: int) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=IMAGES, y=np.arange(5))
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 0xFF
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        Arrays(path=str(path))


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_python_objects_are_refused_unread(tmp_path: Path, form: str) -> None:
    x = np.array([{"a": 1}, None], dtype=object)
    path = tmp_path / f"x.{form}"
    if form == "npy":
        np.save(path, x, allow_pickle=True)
    else:
        np.savez(path, x=x)
    with pytest.raises(DataError, match="holds Python objects"):
        Arrays(path=str(path))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array(["a", "b"]), "values of type <U1"),
        (np.zeros((2, 2), complex), "values of type complex128"),
        (np.zeros((0, 3)), "has no rows"),
        (np.zeros((3, 0)), "has no rows"),
        (np.float64(3), "has no rows"),
    ],
)
def test_what_is_no_rows_of_numbers_is_refused(tmp_path: Path, x: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Arrays(path=save(tmp_path, x))


def member(header: str, values: bytes) -> bytes:
    """A .npy member with a header of one's own."""
    padded = header.ljust(117) + "\n"
    return NPY_MAGIC + b"\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + values


def zipped(path: Path, data: bytes) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", data)
    return str(path)


def test_a_header_that_declares_more_than_there_is_is_refused(tmp_path: Path) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3)}"
    (tmp_path / "x.npy").write_bytes(member(header, bytes(16)))
    for path in (zipped(tmp_path / "x.npz", member(header, bytes(16))), str(tmp_path / "x.npy")):
        with pytest.raises(DataError, match="truncated or damaged"):
            Arrays(path=path)


@pytest.mark.parametrize("offset", [6, 8])  # the version of zip, and the flags, that a member needs
def test_a_member_that_needs_unknown_features_is_refused(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=IMAGES)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + offset] = 0xE0
    path.write_bytes(data)
    with pytest.raises(DataError, match="truncated or damaged"):
        Arrays(path=str(path))


@pytest.mark.parametrize(
    ("path_data", "message"),
    [
        (b"GIF89a" + bytes(20), "neither a .npy nor an .npz"),
        (member("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3)}", b""), "truncated or damaged"),
        (member("{'descr': '<f8', 'fortran_order': False}", b""), "truncated or damaged"),
        (member("((((((((", b""), "truncated or damaged"),
        (NPY_MAGIC + b"\x03\x00" + bytes(20), "truncated or damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, path_data: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(path_data)
    with pytest.raises(DataError, match=message):
        Arrays(path=str(tmp_path / "x.npy"))


def test_archives_that_numpy_did_not_write_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="does not begin like an array"):
        Arrays(path=str(tmp_path / "y.npz"))


def test_a_column_that_is_masked_in_a_whole_piece_is_scaled_by_its_other_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sensor that starts later; values are summed in pieces of two rows."""
    monkeypatch.setattr("ganvae_core.builtin.sources.describe._PIECE_VALUES", 4)
    x = np.ma.array([[float(row), 100.0 + row] for row in range(6)])
    x[:2, 1] = np.ma.masked
    units = describe(x, "x").spec.units
    assert units.offset == pytest.approx((2.5, 103.5))
    assert units.scale == pytest.approx((np.std(np.arange(6)), np.std(np.arange(4))))
