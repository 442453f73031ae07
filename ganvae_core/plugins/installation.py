"""What lies on the disk of an installed distribution: what pins and locks compare."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Installation:
    """How a distribution is installed.

    Args:
        editable: its code is a checkout, which may change at any time.
        sha256: of its files, as 64 hexadecimal digits; empty where it is editable or keeps no record of its files.
    """

    editable: bool
    sha256: str


def installation(distribution: str) -> Installation:
    """How a distribution is installed; of two copies on the path the first, which Python imports.

    Of one that is not installed, or no longer, nothing is known: it has no hash.
    """
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return Installation(editable=False, sha256="")
    editable = is_editable(found)
    return Installation(editable, "" if editable else files_sha256(found))


def is_editable(distribution: importlib.metadata.Distribution) -> bool:
    """Whether it was installed by ``pip install -e``, as its ``direct_url.json`` says."""
    try:
        origin: Any = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable", False))
    except (ValueError, AttributeError):  # not JSON, or not of the form that the standard prescribes
        return False


def files_sha256(distribution: importlib.metadata.Distribution) -> str:
    """A hash of what a distribution imports, equal wherever the same wheel is installed; empty without a RECORD.

    The SHA-256 of the sorted lines ``path,sha256=…`` of RECORD, joined by newlines. Left out is what differs between
    environments: the ``.dist-info`` folder, ``.pyc`` files, and scripts, which lie outside. The hashes are those of the
    files as they are now, so a file that was edited in place changes the result.
    """
    record = distribution.read_text("RECORD")
    if not record:
        return ""
    paths = (PurePosixPath(row[0].replace("\\", "/")) for row in csv.reader(record.splitlines()) if row)
    lines = sorted(f"{path},{_file_sha256(distribution, path)}" for path in paths if _counts(path))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _counts(path: PurePosixPath) -> bool:
    outside = path.is_absolute() or ".." in path.parts
    return not outside and not path.parts[0].endswith(".dist-info") and path.suffix != ".pyc"


def _file_sha256(distribution: importlib.metadata.Distribution, path: PurePosixPath) -> str:
    """As RECORD writes it: URL-safe base64 without padding. A file that is gone has none."""
    try:
        with open(str(distribution.locate_file(str(path))), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return ""
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
