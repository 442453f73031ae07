"""Downloads: once, checked, gone on with where they were cut off, and explained where they fail."""

from __future__ import annotations

import gzip
import hashlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pooch
import pytest
from loopback import Loopback, serving

from ganvae_core.builtin.sources import downloads
from ganvae_core.builtin.sources.downloads import cache_folder, fetch, is_whole
from ganvae_core.builtin.sources.published import (
    CIFAR10,
    FASHION_MNIST,
    KMNIST,
    MNIST,
    Collection,
    PublishedFile,
)
from ganvae_core.errors import DataError

CONTENT = np.random.default_rng(0).bytes(300_000)
HALF = len(CONTENT) // 2
NAME = "numbers.bin"


def published(name: str, content: bytes, unpacked: bytes | None = None) -> PublishedFile:
    contents_hash = None if unpacked is None else hashlib.sha256(unpacked).hexdigest()
    return PublishedFile(name, len(content), hashlib.sha256(content).hexdigest(), contents_hash)


def collection(*addresses: str, files: tuple[PublishedFile, ...] = (published(NAME, CONTENT),)) -> Collection:
    return Collection("numbers", addresses, {"train": files}, ("0",))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache that the files belong into."""
    monkeypatch.setenv("GANVAE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "numbers"


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(Loopback({NAME: CONTENT})) as loopback:
        yield loopback


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def refused(wanted: Collection, mirror: str | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        fetch(wanted, "train", mirror)
    return caught.value


def test_a_file_is_downloaded_once_and_then_needs_no_server(folder: Path) -> None:
    with serving(Loopback({NAME: CONTENT})) as server:
        wanted = collection(server.address)
        assert fetch(wanted, "train") == [folder / NAME]
        assert fetch(wanted, "train") == [folder / NAME]
    assert fetch(wanted, "train") == [folder / NAME]
    assert server.asked == [(NAME, 0)]
    assert contents(folder) == {NAME: CONTENT}


def test_a_download_that_is_cut_off_goes_on_where_it_was(server: Loopback, folder: Path) -> None:
    server.cuts = [HALF]
    fetch(collection(server.address), "train")
    assert server.asked == [(NAME, 0), (NAME, HALF)]
    assert server.sent == len(CONTENT)
    assert contents(folder) == {NAME: CONTENT}


def test_another_run_goes_on_where_the_last_one_was_cut_off(server: Loopback, folder: Path) -> None:
    server.cuts = [HALF, 0]
    error = refused(collection(server.address))
    assert f"{server.address}/{NAME}: the connection was cut" in error.hints
    assert error.hints[-1] == f"{HALF:,} bytes of it are kept: the next try goes on from there"
    assert contents(folder) == {f"{NAME}.part": CONTENT[:HALF]}
    fetch(collection(server.address), "train")
    assert server.asked == [(NAME, 0), (NAME, HALF), (NAME, HALF)]
    assert server.sent == len(CONTENT)
    assert contents(folder) == {NAME: CONTENT}


def test_a_connection_that_is_cut_again_and_again_is_given_up(server: Loopback, folder: Path) -> None:
    server.cuts = [1_000] * 100
    refused(collection(server.address))
    assert len(server.asked) == downloads.ATTEMPTS
    assert contents(folder) == {f"{NAME}.part": CONTENT[: 1_000 * downloads.ATTEMPTS]}


def test_a_second_server_goes_on_where_the_first_one_stopped(server: Loopback, folder: Path) -> None:
    server.cuts = [HALF, 0]
    with serving(Loopback({NAME: CONTENT})) as second:
        fetch(collection(server.address, second.address), "train")
    assert second.asked == [(NAME, HALF)]
    assert contents(folder) == {NAME: CONTENT}


def test_a_server_that_knows_no_ranges_starts_again(server: Loopback, folder: Path) -> None:
    server.ranges = False
    server.cuts = [HALF]
    fetch(collection(server.address), "train")
    assert server.asked == [(NAME, 0), (NAME, HALF)]
    assert contents(folder) == {NAME: CONTENT}


@pytest.mark.parametrize("kept", [b"of another file", bytes(len(CONTENT)), bytes(2 * len(CONTENT))])
def test_a_part_of_another_file_is_thrown_away(server: Loopback, folder: Path, kept: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").write_bytes(kept)
    fetch(collection(server.address), "train")
    assert server.asked == [(NAME, len(kept)), (NAME, 0)]
    assert contents(folder) == {NAME: CONTENT}


def test_a_part_that_is_whole_is_not_downloaded_again(server: Loopback, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").write_bytes(CONTENT)
    fetch(collection(server.address), "train")
    assert server.sent == 0
    assert contents(folder) == {NAME: CONTENT}


def test_another_file_than_the_published_one_is_refused_and_not_kept(server: Loopback, folder: Path) -> None:
    server.files[NAME] = CONTENT[:-1] + b"?"
    error = refused(collection(server.address))
    assert error.hints[0] == (
        f"{server.address}/{NAME}: it is not the file that was published: its SHA-256 differs"
    )
    assert contents(folder) == {}


def test_no_more_is_read_than_the_file_can_have(server: Loopback, folder: Path) -> None:
    server.files[NAME] = bytes(2**26)
    assert "its SHA-256 differs" in refused(collection(server.address)).hints[0]
    assert server.sent < 2**26
    assert contents(folder) == {}


def test_the_next_server_is_asked_where_one_lacks_the_file(server: Loopback, folder: Path) -> None:
    with serving(Loopback({})) as empty:
        fetch(collection(empty.address, server.address), "train")
        assert empty.asked == [(NAME, 0)]
        assert contents(folder) == {NAME: CONTENT}
        (folder / NAME).unlink()
        assert f"{empty.address}/{NAME}: 404 Not Found" in refused(collection(empty.address)).hints


def test_without_a_connection_the_error_says_what_to_do_by_hand(folder: Path) -> None:
    with serving(Loopback({})) as server:
        pass
    other = published("names.bin", b"names")
    wanted = collection(server.address, files=(published(NAME, CONTENT), other))
    error = refused(wanted)
    assert error.exit_code == 2
    assert error.message == f"'numbers' is not on this machine, and {NAME} could not be downloaded."
    assert error.hints == (
        f"{server.address}/{NAME}: Connection refused",
        f"by hand: put {NAME} and names.bin from {server.address}/ into {folder}",
        "or take them from a folder or a server of your own:  data.mirror=FOLDER_OR_URL",
    )
    (folder / NAME).write_bytes(CONTENT)
    (folder / "names.bin").write_bytes(b"names")
    assert fetch(wanted, "train") == [folder / NAME, folder / "names.bin"]


def test_a_wrong_file_in_the_cache_is_named_and_replaced(server: Loopback, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"something else")
    with serving(Loopback({})) as empty:
        error = refused(collection(empty.address))
    assert error.hints[0] == f"{folder / NAME} is not the file that was published"
    assert contents(folder) == {NAME: b"something else"}
    fetch(collection(server.address), "train")
    assert contents(folder) == {NAME: CONTENT}


def test_a_server_that_says_nothing_is_not_waited_for(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", (0.2, 0.2))
    server.silent = threading.Event()
    error = refused(collection(server.address))
    server.silent.set()
    assert error.hints[0] == f"{server.address}/{NAME}: timed out"


def test_bytes_are_kept_as_they_were_sent(server: Loopback, folder: Path) -> None:
    zipped = gzip.compress(CONTENT, mtime=0)
    server.files["numbers.gz"] = zipped
    server.headers["Content-Encoding"] = "gzip"  # some servers call the packing of a .gz file an encoding
    fetch(collection(server.address, files=(published("numbers.gz", zipped),)), "train")
    assert contents(folder) == {"numbers.gz": zipped}


def test_several_at_once_download_once(server: Loopback, folder: Path) -> None:
    wanted = collection(server.address)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: fetch(wanted, "train"), range(4)))
    assert found == [[folder / NAME]] * 4
    assert server.asked == [(NAME, 0)]


def test_a_mirror_takes_the_place_of_the_published_address(server: Loopback, folder: Path) -> None:
    with serving(Loopback({f"pub/{NAME}": CONTENT})) as mirror:
        fetch(collection(server.address), "train", f"{mirror.address}/pub/")
    assert server.asked == []
    assert contents(folder) == {NAME: CONTENT}


def test_a_mirror_can_be_a_folder(server: Loopback, folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    error = refused(collection(server.address), str(own))
    assert error.hints[0] == f"{own}/{NAME}: No such file or directory"
    (own / NAME).write_bytes(CONTENT[:-1])
    assert "its SHA-256 differs" in refused(collection(server.address), str(own)).hints[0]
    (own / NAME).write_bytes(bytes(3 * len(CONTENT)))
    assert "its SHA-256 differs" in refused(collection(server.address), str(own)).hints[0]
    assert contents(folder) == {}
    (own / NAME).write_bytes(CONTENT)
    fetch(collection(server.address), "train", str(own))
    assert contents(folder) == {NAME: CONTENT}
    fetch(collection(server.address), "train", str(tmp_path / "gone"))
    assert server.asked == []


@pytest.mark.parametrize(
    ("mirror", "message"),
    [("no/such/folder", "there is no folder"), ("ftp://127.0.0.1/", "cannot be downloaded from")],
)
def test_a_mirror_that_cannot_be_one_is_refused(mirror: str, message: str) -> None:
    assert message in refused(collection("http://127.0.0.1:1"), mirror).message


def test_a_cache_that_cannot_be_written_is_said(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANVAE_CACHE_DIR", str(tmp_path / "file"))
    error = refused(collection(server.address))
    assert error.message == f"'{tmp_path}/file/numbers' cannot be written: Not a directory."
    assert "GANVAE_CACHE_DIR" in error.hints[0]


def test_the_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANVAE_CACHE_DIR")
    assert cache_folder() == pooch.os_cache("ganvae")
    monkeypatch.setenv("GANVAE_CACHE_DIR", "~/data")
    assert cache_folder() == Path.home() / "data"


def test_what_was_zipped_anew_is_known_by_its_contents(tmp_path: Path) -> None:
    file = published("x.gz", gzip.compress(CONTENT, 9), CONTENT)
    path = tmp_path / "x.gz"
    for level in (1, 9):
        path.write_bytes(gzip.compress(CONTENT, level, mtime=level))
        assert is_whole(path, file)
    for wrong in (gzip.compress(CONTENT[1:]), gzip.compress(CONTENT)[:-9], CONTENT, b""):
        path.write_bytes(wrong)
        assert not is_whole(path, file)
    assert not is_whole(tmp_path / "y.gz", file)


def test_no_more_is_unpacked_than_the_file_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = bytes(2**20)
    zipped = gzip.compress(unpacked)
    file = published("x.gz", zipped + b"another", unpacked)
    path = tmp_path / "x.gz"
    path.write_bytes(zipped)
    assert not is_whole(path, file)
    monkeypatch.setattr(downloads, "MOST_TIMES_UNPACKED", 2_000)
    assert is_whole(path, file)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_slow_download_says_how_far_it_is_in_a_terminal(
    server: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    monkeypatch.setattr(downloads, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    fetch(collection(server.address), "train")
    said = capsys.readouterr().err.splitlines()
    assert said == (["downloading numbers.bin: 0.1 of 0.3 MB"] if terminal else [])


@pytest.mark.parametrize("known", [MNIST, FASHION_MNIST, KMNIST, CIFAR10], ids=lambda known: known.name)
def test_what_is_published_is_complete(known: Collection) -> None:
    assert set(known.files) == {"train", "test"}
    assert len(set(known.classes)) == 10
    for address in known.addresses:
        assert address.startswith(("https://", "http://fashion-mnist.s3-website"))
        assert not address.endswith("/")
    files = {file.name: file for part in known.files.values() for file in part}
    assert len({file.sha256 for file in files.values()}) == len(files)
    assert all(len(bytes.fromhex(file.sha256)) == 32 and file.size > 0 for file in files.values())


def test_the_contents_of_mnist_are_known(data_dir: Path) -> None:
    for file in (*MNIST.files["train"], *MNIST.files["test"]):
        assert is_whole(data_dir / "mnist" / file.name, file)
