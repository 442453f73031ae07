"""Published files, downloaded once into the user's cache: a download that was cut off is gone on with.

A file under its own name is whole: what is on its way lies beside it in ``NAME.part``, and gets its name when its
hash has been checked. Every use checks the hash again, so a file that was put there by hand is as good. pooch finds the
cache and takes the hashes; its own downloaders always start from the beginning, so the transfer is done here.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from ganvae_core.builtin.sources.paths import existing_folder, readable, reason
from ganvae_core.builtin.sources.published import Collection, Part, PublishedFile
from ganvae_core.errors import DataError

CACHE_VARIABLE = "GANVAE_CACHE_DIR"
TIMEOUT_SECONDS = (10.0, 30.0)
"""For a connection, and for the next bytes."""
ATTEMPTS = 5
"""Requests for one file from one server, as long as each brings a part of it."""
MOST_TIMES_SIZE = 2
"""A copy that was zipped anew has another size, but none so large: what is larger is not read to its end."""
MOST_TIMES_UNPACKED = 32
PATIENCE_SECONDS = 1.0
LINE_SECONDS = 5.0

_CHUNK_BYTES = 2**16
_OTHER_FILE = "it is not the file that was published: its SHA-256 differs"
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


class DownloadError(Exception):
    """One server did not give the file; the message is the reason, as the end of a sentence."""


def cache_folder() -> Path:
    """Where downloads are kept: what ``GANVAE_CACHE_DIR`` names, else the user's cache as the system has it."""
    import pooch

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser().absolute() if named else pooch.os_cache("ganvae")


def fetch(collection: Collection, part: Part, mirror: str | None = None) -> list[Path]:
    """The files of a part of a data set, from the cache, and downloaded into it where they are not there.

    Args:
        collection: the data set.
        part: which of its files.
        mirror: a folder, or the address of one on a server, in place of the published ones.

    Raises:
        DataError: a file cannot be downloaded, is not the published one, or the cache cannot be written.
    """
    folder = cache_folder() / collection.name
    files = collection.files[part]
    missing = [file for file in files if not is_whole(folder / file.name, file)]
    if missing:
        addresses = collection.addresses if mirror is None else (_address(mirror),)
        try:
            _fetch_missing(collection, missing, folder, addresses)
        except OSError as error:
            raise DataError(
                f"'{folder}' cannot be written: {reason(error)}.",
                f"keep downloads in another folder:  export {CACHE_VARIABLE}=FOLDER",
            ) from error
    return [folder / file.name for file in files]


def is_whole(path: Path, file: PublishedFile) -> bool:
    """Whether there is a file, and it is the published one, or one that unpacks to the same.

    Raises:
        DataError: the file cannot be read.
    """
    if not path.is_file():
        return False
    import pooch

    with readable(path):
        if pooch.file_hash(str(path), "sha256") == file.sha256:
            return True
        return file.contents_sha256 is not None and _contents_hash(path, file) == file.contents_sha256


def complete(address: str, part: Path, file: PublishedFile) -> None:
    """Get what is missing of a part, until it is the whole file.

    Args:
        address: of the file, or its path.
        part: what is there of it, if anything.
        file: what it has to be.

    Raises:
        DownloadError: there is no such file there, or another one; or the connection was cut more often than
            is tried, and what arrived is kept.
    """
    for _ in range(ATTEMPTS):
        start = _size(part)
        try:
            _add_missing(address, part, file)
        except DownloadError:
            if _size(part) > start:
                continue
            raise
        if is_whole(part, file):
            return
        part.unlink()
        if start == 0:  # else what was there may have been of another file: once more, from the start
            raise DownloadError(_OTHER_FILE)
    raise DownloadError(f"the connection was cut {ATTEMPTS} times")


def _fetch_missing(
    collection: Collection, missing: Sequence[PublishedFile], folder: Path, addresses: Sequence[str]
) -> None:
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # two processes would both write to the part
        for file in missing:
            reasons = _fetch_file(file, folder, addresses)
            if reasons:
                raise _missing_error(collection, file, missing, folder, reasons)


def _fetch_file(file: PublishedFile, folder: Path, addresses: Sequence[str]) -> list[str]:
    """Download one file; returns why no server gave it, and nothing if one did."""
    target, part = folder / file.name, folder / f"{file.name}.part"
    if is_whole(target, file):  # another process was quicker
        return []
    reasons = [f"{target} is not the file that was published"] if target.exists() else []
    for address in addresses:
        try:
            complete(f"{address}/{file.name}", part, file)
        except DownloadError as error:
            reasons.append(f"{address}/{file.name}: {error}")
        else:
            os.replace(part, target)
            return []
    return reasons


def _add_missing(address: str, part: Path, file: PublishedFile) -> None:
    if _is_remote(address):
        _transfer(address, part, file)
        return
    try:
        if Path(address).stat().st_size > MOST_TIMES_SIZE * file.size:
            raise DownloadError(_OTHER_FILE)
        shutil.copyfile(address, part)
    except OSError as error:
        raise DownloadError(reason(error)) from error


def _transfer(address: str, part: Path, file: PublishedFile) -> None:
    """Ask a server for what is missing of a part, and add it; if the server sends all of it, start again."""
    import requests
    from urllib3.exceptions import HTTPError as BrokenAnswer

    start = _size(part)
    # A server that unpacks .gz files on the way would give other bytes than those that were published.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            if start and answer.status_code == _RANGE_NOT_SATISFIABLE:
                return  # nothing is missing, or the part is of another file: its hash tells
            answer.raise_for_status()
            with part.open("ab" if answer.status_code == _PARTIAL_CONTENT else "wb") as stream:
                _write(answer.raw.stream(_CHUNK_BYTES, decode_content=False), stream, file)
    except (requests.RequestException, BrokenAnswer) as error:
        raise DownloadError(_why(error)) from error


def _write(chunks: Iterable[bytes], stream: IO[bytes], file: PublishedFile) -> None:
    progress = _Progress(file)
    for chunk in chunks:
        stream.write(chunk)
        progress.say(stream.tell())
        if stream.tell() > MOST_TIMES_SIZE * file.size:  # it is another file, as its hash will tell
            return


class _Progress:
    """Says in a terminal how far a download is, once it takes longer than a person waits without wondering.

    A line now and then, and no bar: whoever opens data may be drawing something in the terminal already.
    """

    def __init__(self, file: PublishedFile) -> None:
        self._file = file
        self._next = time.monotonic() + PATIENCE_SECONDS

    def say(self, done: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LINE_SECONDS
        if sys.stderr.isatty():
            text = f"downloading {self._file.name}: {done / 1e6:,.1f} of {self._file.size / 1e6:,.1f} MB"
            print(text, file=sys.stderr, flush=True)


def _missing_error(
    collection: Collection,
    file: PublishedFile,
    missing: Sequence[PublishedFile],
    folder: Path,
    reasons: Sequence[str],
) -> DataError:
    kept = _size(folder / f"{file.name}.part")
    names = " and ".join(file.name for file in missing)
    return DataError(
        f"'{collection.name}' is not on this machine, and {file.name} could not be downloaded.",
        *reasons,
        f"by hand: put {names} from {collection.addresses[0]}/ into {folder}",
        "or take them from a folder or a server of your own:  data.mirror=FOLDER_OR_URL",
        f"{kept:,} bytes of it are kept: the next try goes on from there" if kept else "",
    )


def _address(mirror: str) -> str:
    """What a person gave as a mirror: the address of a folder on a server, or the path of one.

    Raises:
        DataError: there is no such folder.
    """
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


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _contents_hash(path: Path, file: PublishedFile) -> str | None:
    """The hash of what a gzipped file unpacks to; None where it is no such file, or unpacks to far too much."""
    digest = hashlib.sha256()
    left = MOST_TIMES_UNPACKED * file.size
    try:
        with gzip.open(path) as stream:
            while left > 0 and (chunk := stream.read(_CHUNK_BYTES)):
                digest.update(chunk)
                left -= len(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return None
    return digest.hexdigest() if left > 0 else None


def _why(error: Exception) -> str:
    """Why a download failed, in few words: a library's own are many, and the first reason is the last of them."""
    import requests
    from urllib3.exceptions import ProtocolError

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, ProtocolError):
        return "the connection was cut"
    first: BaseException = error
    while (before := first.__cause__ or first.__context__) is not None:
        first = before
    return reason(first)
