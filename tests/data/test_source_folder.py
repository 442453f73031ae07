"""Folders of images: modes, sizes, labels, orientation, and files that are no images."""

from __future__ import annotations

import os
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganvae_core.builtin.sources import pictures, storage
from ganvae_core.builtin.sources.arrays import Arrays
from ganvae_core.builtin.sources.describe import Scale
from ganvae_core.builtin.sources.folder import Folder
from ganvae_core.builtin.sources.images import Fit
from ganvae_core.errors import DataError
from ganvae_core.store.files import cache_folder

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def pixels(height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8).squeeze()


def write(path: Path, image: np.ndarray | Image.Image | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = (
        image if isinstance(image, Image.Image) else Image.fromarray(pixels() if image is None else image)
    )
    picture.save(path, **options)
    return path


def rows(folder: Path, **options: object) -> np.ndarray:
    return Folder(path=str(folder), **options).rows(slice(None)).x  # type: ignore[arg-type]


def test_images_come_in_the_order_of_their_paths_with_channels_first(tmp_path: Path) -> None:
    images = {name: pixels() for name in ("b/1.png", "a.png", "b/0.bmp", "c.tiff")}
    for name, image in images.items():
        write(tmp_path / name, image)
    source = Folder(path=str(tmp_path))
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    expected = [images[name].transpose(2, 0, 1) for name in sorted(images)]
    assert np.array_equal(x, np.stack(expected))
    assert np.shares_memory(x, source.rows(slice(1, 2)).x)
    assert (source.spec.shape, source.spec.modality) == ((3, 6, 8), "image")
    assert source.spec.units.scale == (255.0,)
    assert labels is None


def test_every_format_is_read_and_other_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "c.jpeg", "d.bmp", "e.gif", "f.webp", "g.tif"):
        write(tmp_path / name)
    write(tmp_path / ".hidden.png")
    write(tmp_path / ".cache/x.png")
    (tmp_path / "notes.txt").write_text("hello")
    assert len(rows(tmp_path)) == 7


def test_first_sub_folders_are_the_labels(tmp_path: Path) -> None:
    for name in ("dog/deep/0.png", "cat/1.png", "cat/0.png"):
        write(tmp_path / name)
    source = Folder(path=str(tmp_path))
    labels = source.rows(slice(None)).labels
    assert labels is not None
    assert labels.tolist() == [0, 0, 1]
    assert source.spec.classes == ("cat", "dog")


@pytest.mark.parametrize("names", [("cat/0.png", "cat/1.png"), ("cat/0.png", "dog/0.png", "x.png")])
def test_one_sub_folder_or_images_outside_of_them_give_no_labels(tmp_path: Path, names: tuple[str]) -> None:
    for name in names:
        write(tmp_path / name)
    assert Folder(path=str(tmp_path)).spec.classes is None


def test_linked_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/0.png")
    write(tmp_path / "images/a/0.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "images/b")
    os.symlink(tmp_path / "images", tmp_path / "images/a/loop")
    assert len(rows(tmp_path / "images")) == 2


def test_gray_images_have_one_channel(tmp_path: Path) -> None:
    gray = pixels(channels=1)
    write(tmp_path / "a.png", gray)
    write(tmp_path / "b.png", Image.fromarray(gray > 99))
    write(tmp_path / "c.png", gray.astype(np.uint16) * 257)
    x = rows(tmp_path)
    assert x.shape == (3, 1, 6, 8)
    assert np.array_equal(x[0, 0], gray)
    assert np.array_equal(x[1, 0], (gray > 99) * 255)
    assert np.array_equal(x[2, 0], gray)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_grays_of_more_than_8_bits_keep_their_gradient(tmp_path: Path, bits: int) -> None:
    values = np.arange(64).reshape(8, 8) * ((2**bits - 1) // 63)
    write(tmp_path / "a.png", values.astype(np.uint16))
    write(tmp_path / "b.tif", values.astype(np.int32))
    source = Folder(path=str(tmp_path))
    assert np.array_equal(source.rows(slice(None)).x[:, 0], np.stack([values, values]))
    assert source.spec.units.scale == (2.0**bits - 1,)
    assert source.rows(slice(None)).x.dtype == source.spec.units.dtype
    assert bits == 8 or source.why.startswith(f"grays up to {2**bits - 1}, the white of {bits} bits;")


@pytest.mark.parametrize("lazy", [False, True])
def test_masks_are_scaled_by_their_highest_value_as_arrays_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lazy: bool
) -> None:
    masks = RNG.integers(0, 2, (9, 1, 8, 8), dtype=np.uint8)
    masks[8, 0, 3, 3] = 20  # the last one alone has the highest class
    for number, mask in enumerate(masks[:, 0]):
        write(tmp_path / f"masks/{number}.png", mask)
    np.save(tmp_path / "masks.npy", masks)
    monkeypatch.setattr(pictures, "MOST_AT_ONCE", 1 if lazy else 99)
    source, array = Folder(path=str(tmp_path / "masks")), Arrays(path=str(tmp_path / "masks.npy"))
    assert source.is_lazy is lazy
    assert source.spec.units.scale == (20.0,)
    assert (source.spec, source.why, source.notes) == (array.spec, array.why, array.notes)
    write(tmp_path / "masks/5.png", np.full((8, 8), 33, np.uint8))
    assert Folder(path=str(tmp_path / "masks")).spec.units.scale == (255.0,)


@pytest.mark.parametrize(
    ("scale", "offset", "divisor"),
    [("range", 7.0, 93.0), ("pixels", 0.0, 255.0), ("none", 0.0, 1.0), ("standardise", 53.5, 46.5)],
)
def test_the_scale_of_pictures_can_be_chosen(
    tmp_path: Path, scale: Scale, offset: float, divisor: float
) -> None:
    write(tmp_path / "a.png", np.repeat([[7], [100]], 4, 1).astype(np.uint8))
    units = Folder(path=str(tmp_path), scale=scale).spec.units
    assert (units.offset, units.scale) == ((offset,), (divisor,))


def test_one_colour_image_makes_all_rgb_unless_gray_is_asked_for(tmp_path: Path) -> None:
    gray, colour = pixels(channels=1), pixels()
    write(tmp_path / "a.png", gray)
    write(tmp_path / "b.png", colour)
    x = rows(tmp_path)
    assert np.array_equal(x[0], np.stack([gray] * 3))
    assert np.array_equal(x[1], colour.transpose(2, 0, 1))
    asked = rows(tmp_path, grayscale=True)
    assert asked.shape == (2, 1, 6, 8)
    assert np.array_equal(asked[1, 0], np.asarray(Image.fromarray(colour).convert("L")))


def test_palettes_alpha_and_cmyk_become_rgb(tmp_path: Path) -> None:
    colour = Image.fromarray(pixels())
    palette = colour.quantize(256)
    write(tmp_path / "a.png", palette)
    write(tmp_path / "b.png", palette, transparency=b"\xff" * 256)
    write(tmp_path / "c.png", Image.fromarray(pixels(channels=4)))
    write(tmp_path / "d.jpg", colour.convert("CMYK"))
    x = rows(tmp_path)
    assert x.shape == (4, 3, 6, 8)
    assert np.array_equal(x[0], np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    assert np.array_equal(x[0], x[1])


def forms_of(colour: np.ndarray, alpha: np.ndarray) -> dict[str, Image.Image]:
    """One picture with its transparency in each way that a PNG can have it."""
    solid = Image.fromarray(colour)
    gray = solid.convert("L")
    return {
        "RGBA": Image.fromarray(np.dstack([colour, alpha])),
        "LA": Image.merge("LA", (gray, Image.fromarray(alpha))),
    }


@pytest.mark.parametrize("form", ["RGBA", "LA"])
def test_transparent_pixels_are_white_whatever_colour_they_hide(form: str, tmp_path: Path) -> None:
    colour = pixels()
    alpha = np.zeros((6, 8), np.uint8)
    alpha[:, 4:] = 255
    picture = forms_of(colour, alpha)[form]
    write(tmp_path / "a.png", picture)
    (x,) = rows(tmp_path)
    assert (x[:, :, :4] == 255).all()
    visible = np.asarray(picture.convert("L" if form == "LA" else "RGB"))[:, 4:]
    assert np.array_equal(x[:, :, 4:], visible.reshape(6, 4, -1).transpose(2, 0, 1))
    alpha[:] = 128
    write(tmp_path / "a.png", forms_of(colour * 0, alpha)[form])
    assert set(np.unique(rows(tmp_path))) == {127}, "black, half through which white is seen"


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_colour_that_stands_for_transparency_is_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 6), (10, 10, 10))
    image.putpixel((3, 2), (200, 200, 200))
    picture = image.quantize(2) if mode == "P" else image.convert(mode)
    hidden = picture.getpixel((0, 0))
    write(tmp_path / "a.png", picture, transparency=hidden)
    x = rows(tmp_path)[0]
    assert (x[:, 0, 0] == 255).all()
    assert (x[:, 2, 3] == 200).all()


def test_images_stand_upright_as_their_exif_says(tmp_path: Path) -> None:
    image = pixels()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    write(tmp_path / "a.png", image, exif=exif)
    assert np.array_equal(rows(tmp_path)[0], np.rot90(image, -1).transpose(2, 0, 1))


def test_images_that_differ_once_they_stand_upright_are_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "a.png")
    write(tmp_path / "b.png", exif=exif)
    with pytest.raises(DataError, match=r"a\.png is 6 × 8 and .*b\.png is 8 × 6"):
        Folder(path=str(tmp_path))


def test_differing_sizes_name_two_files_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in/a.png")
    write(tmp_path / "in/b.png")
    write(tmp_path / "in/c.png", pixels(9, 9))
    monkeypatch.chdir(tmp_path)
    message = r"^the images differ in size: in/a\.png is 6 × 8 and in/c\.png is 9 × 9 \(height × width\)\."
    with pytest.raises(DataError, match=message) as caught:
        Folder(path="in")
    assert "data.resize=64" in caught.value.hints[0]
    assert rows(Path("in"), resize=4).shape == (3, 3, 4, 4)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_resizing_takes_the_middle_square_with_antialiasing(tmp_path: Path, name: str) -> None:
    image = np.zeros((64, 192, 3), np.uint8)
    image[:, 64:128:2] = 255  # the middle square has stripes one pixel wide, whose mean is a medium gray
    image[:, :64, 0] = 255
    write(tmp_path / name, image, **({"quality": 95, "subsampling": 0} if name == "a.jpg" else {}))
    x = rows(tmp_path, resize=8)
    assert x.shape == (1, 3, 8, 8)
    assert np.abs(x[0, :, :, 2:6].astype(int) - 128).max() < 12


def test_small_images_are_enlarged(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.full((2, 3, 3), 77, np.uint8))
    assert (rows(tmp_path, resize=16) == 77).all()


def test_a_side_has_to_be_positive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.resize: 0"):
        Folder(path=str(tmp_path), resize=0)


def cut(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


@pytest.mark.parametrize("resize", [None, 16])
@pytest.mark.parametrize("name", ["b.png", "b.jpg", "b.gif", "b.webp", "b.bmp", "b.tif"])
def test_a_truncated_image_is_named_counted_and_skipped_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, resize: int | None
) -> None:
    monkeypatch.chdir(tmp_path)
    good = [write(tmp_path / f"in/{good}.png", pixels(64, 64)) for good in "adf"]
    cut(write(tmp_path / "in" / name, pixels(64, 64)))
    (tmp_path / "in/e.png").write_bytes(b"")
    with pytest.raises(DataError, match=rf"^in/{name} is not an image that can be read \(.+\)\.") as caught:
        Folder(path="in", resize=resize)
    assert caught.value.hints == (
        "leave such files out:  data.skip_corrupt=true",
        "2 of 5 files are like this",
    )
    source = Folder(path="in", skip_corrupt=True)
    kept = source.rows(slice(None)).x
    assert np.array_equal(kept, np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in good]))
    assert source.spec.count == len(source) == 3
    assert source.notes[0].startswith(f"2 of 5 files left out: in/{name} (")


def test_the_reason_tells_truncated_empty_and_foreign_files_apart(tmp_path: Path) -> None:
    cases = {"empty": b"", "of no known image format": b"hello" * 99}
    for why, data in cases.items():
        folder = tmp_path / why.replace(" ", "-")
        write(folder / "b.png")
        (folder / "a.png").write_bytes(data)
        with pytest.raises(DataError, match=why):
            Folder(path=str(folder))
    cut(write(tmp_path / "cut/a.jpg", pixels(200, 200), quality=100))
    write(tmp_path / "cut/b.jpg", pixels(200, 200))
    with pytest.raises(DataError, match=r"\(truncated after \d+ KB\)"):
        Folder(path=str(tmp_path / "cut"))


def test_labels_are_those_of_the_images_that_are_kept(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/0.png", "c/0.png"):
        write(tmp_path / name)
    (tmp_path / "b/0.png").write_bytes(b"no image")
    source = Folder(path=str(tmp_path), skip_corrupt=True)
    assert source.spec.classes == ("a", "c")
    assert source.spec.count == 2


@pytest.mark.parametrize("skip_corrupt", [False, True])
def test_a_folder_of_which_nothing_can_be_read_is_refused(tmp_path: Path, skip_corrupt: bool) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(DataError, match="not one of 2 images can be read"):
        Folder(path=str(tmp_path), skip_corrupt=skip_corrupt)


@pytest.mark.parametrize("limit", [20, 30])  # Pillow warns above its limit and refuses above twice that
def test_an_image_too_large_to_be_safe_is_unreadable_and_no_warning_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    write(tmp_path / "a.png", pixels(4, 4))
    write(tmp_path / "b.png", pixels(6, 8))
    before = list(warnings.filters)
    source = Folder(path=str(tmp_path), skip_corrupt=True)
    assert len(source) == 1
    assert f"more pixels than the {limit}" in source.notes[0]
    assert warnings.filters == before


def test_floating_point_pixels_are_refused_with_a_way_out(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", Image.fromarray(np.zeros((4, 4), np.float32)))
    with pytest.raises(DataError, match=r"store such data as \.npy"):
        Folder(path=str(tmp_path))


def test_no_image_is_an_error_that_names_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    with pytest.raises(DataError, match="there is no image under 'in'") as caught:
        Folder(path="in")
    assert len(caught.value.hints) == 1
    for name in ("train-images-idx3-ubyte.gz", "x.npy", "readme.txt"):
        (tmp_path / "in" / name).touch()
    with pytest.raises(DataError) as caught:
        Folder(path="in")
    assert caught.value.hints[:2] == (
        "it has data of another kind:  --data in/train-images-idx3-ubyte.gz",
        "it has data of another kind:  --data in/x.npy",
    )


def test_a_missing_folder_or_a_file_in_its_place_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "photos/a.png")
    with pytest.raises(DataError, match=r"^there is no folder 'photo'\. Did you mean 'photos'\?$"):
        Folder(path="photo")


def test_one_image_file_is_data_of_one_row(tmp_path: Path) -> None:
    image = pixels()
    write(tmp_path / "a.png", image)
    write(tmp_path / "b.png")
    assert np.array_equal(rows(tmp_path / "a.png"), image.transpose(2, 0, 1)[None])


def test_what_is_too_large_for_memory_is_decoded_into_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mapped: Callable[[np.ndarray], bool]
) -> None:
    image = pixels()
    write(tmp_path / "a.png", image)
    monkeypatch.setattr(storage, "available_memory", lambda: 100)
    x = rows(tmp_path)
    assert is_mapped(x)
    assert np.array_equal(x[0], image.transpose(2, 0, 1))


def test_cifar_is_read_as_a_folder_a_class(data_dir: Path, tmp_path: Path) -> None:
    counts: dict[str, int] = {}
    with tarfile.open(data_dir / "cifar10-jpg-test.tar.gz") as archive:
        for member in archive:
            kind = Path(member.name).parent.name
            if member.isfile() and member.name.endswith(".jpg") and counts.get(kind, 0) < 5:
                counts[kind] = counts.get(kind, 0) + 1
                archive.extract(member, tmp_path, filter="data")
    top = next(tmp_path.rglob("*.jpg")).parent.parent
    source = Folder(path=str(top))
    labels = source.rows(slice(None)).labels
    assert source.spec.shape == (3, 32, 32)
    assert source.spec.classes == tuple(sorted(counts))
    assert len(counts) == 10
    assert labels is not None
    assert np.bincount(labels).tolist() == [counts[kind] for kind in sorted(counts)]


def test_formats_of_pillow_are_read_and_other_files_are_counted(tmp_path: Path) -> None:
    for name in ("a.png", "b.ppm", "c.tga"):
        write(tmp_path / name)
    write(tmp_path / "d.jfif", format="JPEG")
    write(tmp_path / "without_ending", format="PNG")
    for name in ("notes.txt", "labels.csv", "Thumbs.db", "desktop.ini", "README"):
        (tmp_path / name).write_text("hello")
    source = Folder(path=str(tmp_path))
    assert len(source) == 5
    assert source.notes == (f"3 other files are not images and are left out: {tmp_path}/README",)


def test_frames_are_said_or_read(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((6, 8), 20 * page, np.uint8)) for page in range(4)]
    for name in ("a.tif", "b.gif"):
        write(tmp_path / name, pages[0], save_all=True, append_images=pages[1:])
    source = Folder(path=str(tmp_path))
    assert len(source) == 2
    assert "2 of 2 pictures hold several frames" in source.notes[0]
    assert rows(tmp_path, frames="all", grayscale=True)[:, 0, 0, 0].tolist() == [0, 20, 40, 60] * 2


def test_parts_of_a_data_set_are_no_classes(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 2)):
        for kind in ("cats", "dogs"):
            for number in range(count):
                write(tmp_path / part / kind / f"{number}.png")
    source = Folder(path=str(tmp_path))
    assert (len(source), source.spec.classes) == (6, ("cats", "dogs"))
    assert "'train' is read;  data.part=val" in source.notes[0]
    assert len(Folder(path=str(tmp_path), part="val")) == 4
    with pytest.raises(DataError, match="there is no 'vale'"):
        Folder(path=str(tmp_path), part="vale")


def test_classes_that_lie_deeper_are_found(tmp_path: Path) -> None:
    for kind in ("cats", "dogs"):
        write(tmp_path / "photos/photos" / kind / "0.png")
    source = Folder(path=str(tmp_path))
    assert source.spec.classes == ("cats", "dogs")
    assert source.notes == (f"the classes are the sub-folders of '{tmp_path}/photos/photos'",)


@pytest.mark.parametrize(
    ("fit", "left", "middle"), [("crop", 255, 255), ("pad", 0, 255), ("stretch", 9, 255)]
)
def test_other_proportions_are_cut_padded_or_stretched(
    tmp_path: Path, fit: Fit, left: int, middle: int
) -> None:
    image = np.full((60, 20), 255, np.uint8)
    image[:20] = image[-20:] = 9
    write(tmp_path / "a.png", image if fit != "pad" else np.full((60, 20), 255, np.uint8))
    x = rows(tmp_path, resize=12, fit=fit)[0, 0]
    edge = x[6, 0] if fit == "pad" else x[2, 6]
    assert np.abs(np.array([edge, x[6, 6]], int) - [left, middle]).max() < 6


def test_a_link_that_leads_nowhere_is_called_one(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("../gone/b.png")
    with pytest.raises(DataError, match=r"it is a link to '\.\./gone/b\.png', which does not exist"):
        Folder(path=str(tmp_path))


def test_an_image_of_many_pixels_can_be_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    write(tmp_path / "b.png", pixels(6, 8))
    with pytest.raises(DataError, match=r"data\.max_pixels=48"):
        Folder(path=str(tmp_path), resize=4)
    assert len(Folder(path=str(tmp_path), resize=4, max_pixels=48)) == 1


@pytest.fixture(params=["DECODED_AT_ONCE", "MOST_AT_ONCE"])
def lazily(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, request.param, 0)


@pytest.mark.usefixtures("lazily")
@pytest.mark.parametrize("memory", [0, 2**30])
def test_many_images_are_decoded_as_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(storage, "available_memory", lambda: memory)
    images = [pixels() for _ in range(6)]
    for number, image in enumerate(images):
        write(tmp_path / f"{number}.png", image)
    source = Folder(path=str(tmp_path))
    assert source.is_lazy
    wanted = np.array([4, 0, 4])
    for _ in range(2):
        assert np.array_equal(
            source.rows(wanted).x, np.stack([images[row] for row in wanted]).transpose(0, 3, 1, 2)
        )
    assert np.array_equal(source.rows(slice(1, 3)).x, np.stack(images[1:3]).transpose(0, 3, 1, 2))


@pytest.mark.usefixtures("lazily")
def test_damage_that_is_met_later_is_fatal_or_skipped(tmp_path: Path) -> None:
    images = [pixels(64, 64) for _ in range(3)]
    for number, image in enumerate(images):
        write(tmp_path / f"{'ab'[number % 2]}/{number}.png", image)
    cut(tmp_path / "b/1.png")
    source = Folder(path=str(tmp_path))
    with pytest.raises(DataError, match=r"b/1\.png is not an image that can be read \(truncated"):
        source.rows(np.array([2]))
    source = Folder(path=str(tmp_path), skip_corrupt=True)
    with pytest.warns(UserWarning, match=r"b/1\.png cannot be read"):
        found = source.rows(np.array([2, 1]))
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0]  # the first picture stands in for the last
    assert np.array_equal(found.x, np.stack([images[0], images[2]]).transpose(0, 3, 1, 2))


@pytest.mark.usefixtures("lazily")
def test_headers_are_read_once_and_again_of_files_that_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.png")
    read: list[str] = []
    original = pictures.read_header
    monkeypatch.setattr(
        pictures, "read_header", lambda file, most: read.append(file.name) or original(file, most)
    )
    Folder(path=str(tmp_path))
    assert sorted(read) == ["a.png", "b.png", "c.png"]
    Folder(path=str(tmp_path))
    assert len(read) == 3
    write(tmp_path / "b.png", pixels(9, 9))
    write(tmp_path / "d.png")
    with pytest.raises(DataError, match=r"b\.png is 9 × 9"):
        Folder(path=str(tmp_path))
    assert sorted(read[3:]) == ["b.png", "d.png"]
    assert len(list(cache_folder().glob("indexes/*"))) == 1
