"""Downloads: once, verified, whole or not at all, and explained where they fail."""

from __future__ import annotations

import gzip
import hashlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
from loopback import Loopback, serving

from ganvae_core.builtin.sources import downloads
from ganvae_core.builtin.sources.downloads import Collection, fetch
from ganvae_core.builtin.sources.named import CIFAR10, FASHION_MNIST, KMNIST, MNIST
from ganvae_core.errors import DataError
from ganvae_core.store.files import cache_folder

CONTENT = np.random.default_rng(0).bytes(300_000)
HALF = len(CONTENT) // 2
NAME = "numbers.bin"


def collection(*addresses: str, **files: bytes) -> Collection:
    contents = {name.replace("_", "."): content for name, content in files.items()} or {NAME: CONTENT}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return Collection("numbers", addresses, {"train": tuple(contents)}, hashes, ("0",))


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
    assert server.asked == [NAME]
    assert contents(folder) == {NAME: CONTENT}


def test_the_next_server_is_asked_where_one_cuts_the_connection(server: Loopback, folder: Path) -> None:
    server.cuts = [HALF]
    with serving(Loopback({NAME: CONTENT})) as second:
        fetch(collection(server.address, second.address), "train")
        assert server.asked == second.asked == [NAME]
    assert contents(folder) == {NAME: CONTENT}


def test_nothing_is_left_of_a_download_that_was_cut_off(server: Loopback, folder: Path) -> None:
    server.cuts = [HALF]
    error = refused(collection(server.address))
    assert f"{server.address}/{NAME}: the connection was cut" in error.hints
    assert contents(folder) == {}
    fetch(collection(server.address), "train")
    assert contents(folder) == {NAME: CONTENT}


def test_nothing_is_left_of_a_download_that_is_interrupted(
    server: Loopback, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(downloads._Progress, "update", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(collection(server.address), "train")
    assert contents(folder) == {}
    fetch(collection(server.address), "train")
    assert contents(folder) == {NAME: CONTENT}


def test_another_file_than_the_published_one_is_refused_and_not_kept(server: Loopback, folder: Path) -> None:
    server.files[NAME] = CONTENT[:-1] + b"?"
    error = refused(collection(server.address))
    assert error.hints[0] == (f"{server.address}/{NAME}: not the published file: its SHA-256 differs")
    assert contents(folder) == {}


def test_the_next_server_is_asked_where_one_lacks_the_file(server: Loopback, folder: Path) -> None:
    with serving(Loopback({})) as empty:
        fetch(collection(empty.address, server.address), "train")
        assert empty.asked == [NAME]
        assert contents(folder) == {NAME: CONTENT}
        (folder / NAME).unlink()
        assert f"{empty.address}/{NAME}: 404 Not Found" in refused(collection(empty.address)).hints


def test_without_a_connection_the_error_says_what_to_do_by_hand(folder: Path) -> None:
    with serving(Loopback({})) as server:
        pass
    wanted = collection(server.address, numbers_bin=CONTENT, names_bin=b"names")
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
    assert error.hints[0] == f"{folder / NAME} is not the published file"
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
    fetch(collection(server.address, numbers_gz=zipped), "train")
    assert contents(folder) == {"numbers.gz": zipped}


def test_several_at_once_download_once(server: Loopback, folder: Path) -> None:
    wanted = collection(server.address)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: fetch(wanted, "train"), range(4)))
    assert found == [[folder / NAME]] * 4
    assert server.asked == [NAME]


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
    path = tmp_path / "x.gz"
    wanted = replace(
        collection(x_gz=gzip.compress(CONTENT, 9)),
        contents_sha256={"x.gz": hashlib.sha256(CONTENT).hexdigest()},
    )
    assert not wanted.is_whole(path)
    for level in (1, 9):
        path.write_bytes(gzip.compress(CONTENT, level, mtime=level))
        assert wanted.is_whole(path)
    for wrong in (gzip.compress(CONTENT[1:]), gzip.compress(CONTENT)[:-9], CONTENT, b""):
        path.write_bytes(wrong)
        assert not wanted.is_whole(path)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_slow_download_says_how_far_it_is_in_a_terminal(
    server: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    monkeypatch.setattr(downloads, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    fetch(collection(server.address), "train")
    said = capsys.readouterr().err.splitlines()
    assert said[:1] == (["downloading numbers.bin: 0.1 of 0.3 MB"] if terminal else [])


@pytest.mark.parametrize("known", [MNIST, FASHION_MNIST, KMNIST, CIFAR10], ids=lambda known: known.name)
def test_what_is_published_is_complete(known: Collection) -> None:
    assert set(known.files) == {"train", "test"}
    assert len(set(known.classes)) == 10
    for address in known.addresses:
        assert address.startswith(("https://", "http://fashion-mnist.s3-website"))
        assert not address.endswith("/")
    assert set(known.sha256) == {name for part in known.files.values() for name in part}
    assert set(known.contents_sha256) <= set(known.sha256)
    hashes = [*known.sha256.values(), *known.contents_sha256.values()]
    assert len(set(hashes)) == len(hashes)
    assert all(len(bytes.fromhex(value)) == 32 for value in hashes)


def test_the_contents_of_mnist_are_known(data_dir: Path) -> None:
    for name in (*MNIST.files["train"], *MNIST.files["test"]):
        assert MNIST.is_whole(data_dir / "mnist" / name)
