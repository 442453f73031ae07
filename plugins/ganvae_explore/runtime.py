"""ONNX Runtime Web: three files of its npm package, downloaded once into the cache and verified by SHA-256."""

from __future__ import annotations

from pathlib import Path

from ganvae_core.errors import DataError
from ganvae_core.store.files import cache_folder

VERSION = "1.22.0"
ADDRESS = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist"
FILES = {
    "runtime": ("ort.wasm.min.mjs", "6ef726f355b791129f7ddf3f62e7877a16b9b777abe87004b8ab306e6b9cf265"),
    "glue": (
        "ort-wasm-simd-threaded.mjs",
        "30dd851d9c00622940500f71ddd2ff8820c5cb65270816080175b958705385a8",
    ),
    "wasm": (
        "ort-wasm-simd-threaded.wasm",
        "71aef04959c5c1b6de461b6538e2058e306610034a85aad2742d0c7fd4533fe4",
    ),
}


def runtime_files() -> dict[str, Path]:
    """The files by what they are.

    Raises:
        DataError: one is not in the cache and cannot be downloaded, or is not the published one.
    """
    import pooch

    folder = cache_folder() / f"onnxruntime-web-{VERSION}"
    found: dict[str, Path] = {}
    for what, (name, sha256) in FILES.items():
        path = folder / name
        try:
            if not path.is_file() or pooch.file_hash(str(path), "sha256") != sha256:
                pooch.retrieve(f"{ADDRESS}/{name}", f"sha256:{sha256}", fname=name, path=folder)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; another hash is a ValueError
            names = ", ".join(each for each, _ in FILES.values())
            raise DataError(
                f"ONNX Runtime Web is not on this machine, and {name} could not be downloaded: {error}",
                f"by hand: put {names} of the npm package onnxruntime-web@{VERSION} (folder dist) into {folder}",
                "or explore without a file, which does without them:  ganvae explore RUN",
            ) from error
        found[what] = path
    return found
