"""Published files in the user's cache: downloaded once with pooch, and verified by their SHA-256 at every use."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ganvae_core.builtin.sources.paths import existing_folder, readable, reason
from ganvae_core.errors import DataError
from ganvae_core.store.files import CACHE_VARIABLE, cache_folder

TIMEOUT_SECONDS = (10.0, 30.0)
"""For a connection, and for the next bytes."""
LINE_SECONDS = 3.0
"""Between two lines on a download that takes so long."""

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Collection:
    """A published data set.

    Args:
        name: of the source, and of the folder in the cache.
        addresses: of the folders on servers that hold the files, in the order in which they are tried.
        files: names of the files of each part; images before labels where these are two files.
        sha256: of each file.
        contents_sha256: of what a gzipped file unpacks to, where copies are in use that were zipped anew.
        classes: names of the labels 0, 1, 2, ….
    """

    name: str
    addresses: Sequence[str]
    files: Mapping[Part, Sequence[str]]
    sha256: Mapping[str, str]
    classes: tuple[str, ...]
    contents_sha256: Mapping[str, str] = field(default_factory=dict[str, str])

    def is_whole(self, path: Path) -> bool:
        """Whether the file exists and is the published one, or unpacks to the same bytes.

        Raises:
            DataError: the file cannot be read.
        """
        import pooch

        if not path.is_file():
            return False
        with readable(path):
            if pooch.file_hash(str(path), "sha256") == self.sha256[path.name]:
                return True
            return path.name in self.contents_sha256 and _unpacked(path) == self.contents_sha256[path.name]


def fetch(collection: Collection, part: Part, mirror: str | None = None) -> list[Path]:
    """The files of a part of a data set. Files that are missing in the cache are downloaded.

    Args:
        collection: the data set.
        part: which of its files.
        mirror: a folder, or the address of one on a server, in place of the published addresses.

    Raises:
        DataError: a file cannot be downloaded, differs from the published one, or the cache cannot be written.
    """
    from filelock import FileLock

    folder = cache_folder() / collection.name
    files = [folder / name for name in collection.files[part]]
    missing = [file for file in files if not collection.is_whole(file)]
    if missing:
        addresses = collection.addresses if mirror is None else [_address(mirror)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):  # of several processes on one machine, one downloads
                for file in missing:
                    _obtain(collection, file, addresses, missing)
        except OSError as error:
            raise DataError(
                f"'{folder}' cannot be written: {reason(error)}.",
                f"keep downloads in another folder:  export {CACHE_VARIABLE}=FOLDER",
            ) from error
    return files


def _obtain(collection: Collection, file: Path, addresses: Sequence[str], missing: Sequence[Path]) -> None:
    """Download one file from the first address that has it, unless another process just did."""
    if collection.is_whole(file):
        return
    reasons = [f"{file} is not the published file"] if file.exists() else []
    for address in addresses:
        failure = "not the published file: its SHA-256 differs"
        with tempfile.TemporaryDirectory(prefix="download-", dir=file.parent) as temporary:
            copy = Path(temporary) / file.name
            try:
                _copy(f"{address}/{file.name}", copy)
            except OSError as error:  # requests' own errors are OSErrors, too
                failure = _why(error)
            if collection.is_whole(copy):
                os.replace(copy, file)
                return
        reasons.append(f"{address}/{file.name}: {failure}")
    names = " and ".join(path.name for path in missing)
    raise DataError(
        f"'{collection.name}' is not on this machine, and {file.name} could not be downloaded.",
        *reasons,
        f"by hand: put {names} from {collection.addresses[0]}/ into {file.parent}",
        "or take them from a folder or a server of your own:  data.mirror=FOLDER_OR_URL",
    )


def _copy(address: str, target: Path) -> None:
    """Download or copy a file."""
    if not _is_remote(address):
        shutil.copyfile(address, target)
        return
    import pooch

    progress: Any = _Progress(target.name)
    download = pooch.HTTPDownloader(
        progressbar=progress,
        chunk_size=2**16,
        timeout=TIMEOUT_SECONDS,
        headers={"Accept-Encoding": "identity"},
        hooks={"response": _keep_packed},
    )
    download(address, str(target), None)


def _keep_packed(answer: Any, **_: object) -> None:
    """Keep the bytes of a .gz file where a server declares its packing as an encoding of the transfer."""
    answer.raw.headers.pop("Content-Encoding", None)


class _Progress:
    """Progress for pooch to report: a line every few seconds, in a terminal.

    A bar would be drawn over the spinner of ``ganvae data``.
    """

    total = 0

    def __init__(self, name: str) -> None:
        self._name = name
        self._done = 0
        self._shown = time.monotonic()

    def update(self, count: int) -> None:
        self._done += count
        if sys.stderr.isatty() and time.monotonic() - self._shown >= LINE_SECONDS:
            self._shown = time.monotonic()
            done, total = self._done / 1e6, self.total / 1e6
            print(f"downloading {self._name}: {done:,.1f} of {total:,.1f} MB", file=sys.stderr)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def _address(mirror: str) -> str:
    if _is_remote(mirror):
        return mirror.rstrip("/")
    if "://" in mirror:
        raise DataError(
            f"data.mirror: '{mirror}' cannot be downloaded from.",
            "a mirror is a folder, or an address that begins with http:// or https://",
        )
    return str(existing_folder(mirror))


def _is_remote(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _unpacked(path: Path) -> str | None:
    """SHA-256 of what a gzipped file unpacks to; None where it is damaged."""
    try:
        with gzip.open(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return None


def _why(error: BaseException) -> str:
    """The answer of the server, or the first cause of a chain: requests' own messages are long."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return "the connection was cut" if type(error).__name__ == "IncompleteRead" else reason(error)
