"""The page: one template, its scripts, and the data that they work on, as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganvae_core.errors import ConfigurationError, TrainingError

if TYPE_CHECKING:
    from ganvae_core.runs.loading import Run

SCRIPTS = ("bytes.js", "decoders.js", "rows.js", "state.js", "map.js", "main.js")


def page_of_server(contents: Sequence[dict[str, Any]]) -> str:
    """The page that asks a server for what the networks make."""
    return _page({"runs": list(contents), "server": True}, {}, "'self'")


def page_file(runs: Sequence[Run], contents: Sequence[dict[str, Any]]) -> str:
    """The page with networks and ONNX Runtime Web inside, in ASCII.

    Raises:
        ConfigurationError: a component cannot be exported.
        DataError: ONNX Runtime Web is not in the cache and cannot be downloaded.
    """
    from ganvae_explore.runtime import runtime_files

    blobs: dict[str, bytes] = {}
    for number, run in enumerate(runs):
        blobs[f"generator-{number}"] = _shuffled(_onnx(run, "generator"))
        if run.model.encoder is not None:
            blobs[f"encoder-{number}"] = _shuffled(_onnx(run, "encoder"))
    for name, path in runtime_files().items():
        blobs[name] = path.read_bytes()
    packed = {name: zlib.compress(content, 9) for name, content in blobs.items()}
    # A page that is mailed does not show where its run lies on this machine.
    named = [
        {**each, "path": each["name"]} if Path(each["path"]).is_absolute() else each for each in contents
    ]
    return _page({"runs": named, "server": False}, packed, "blob:")


def _onnx(run: Run, part: Any) -> bytes:
    """A part in the model's own range: the page scales rows, also those of tables."""
    import torch

    from ganvae_core.latent import export as parts
    from ganvae_core.types import Units

    plain = replace(run.spec, units=Units(), fields=None)
    module = parts.ExportedPart(run.model, plain, part).eval()
    try:
        made: bytes = parts.as_onnx(module).model_proto.SerializeToString()
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{run.path}: {error.message}", f"explore it through a server:  ganvae explore {run.path}"
        ) from error
    inputs = module.example(5, torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact = module(*inputs)
    apart = parts.difference(parts.run_onnx(made, inputs), exact, Units()) / max(
        1.0, exact.abs().max().item()
    )
    if not apart <= parts.TOLERANCE:
        raise TrainingError(f"the exported {part} of {run.path} differs from torch by {apart:.2g}.")
    return made


def _shuffled(content: bytes) -> bytes:
    """First, second, third and fourth bytes of float32 numbers apart from each other, which pack smaller."""
    padded = content + bytes(-len(content) % 4)
    planes = np.frombuffer(padded, np.uint8).reshape(-1, 4).T
    return len(content).to_bytes(4, "little") + planes.tobytes()


def _page(content: dict[str, Any], packed: dict[str, bytes], connect: str) -> str:
    folder = files("ganvae_explore") / "page"
    title = html.escape(" and ".join(run["name"] for run in content["runs"]))
    values = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    # A '<' could begin a tag in a text of base 85, and ',' is not in its alphabet.
    blobs = "\n".join(
        f'<script type="text/plain" id="{name}" data-length="{len(data)}">'
        f"{base64.b85encode(data, pad=True).decode().replace('<', ',')}</script>"
        for name, data in packed.items()
    )
    scripts = "\n".join((folder / name).read_text("utf-8") for name in SCRIPTS)
    scripts = f"\n{scripts}\n"
    page = (folder / "index.html").read_text("utf-8")
    parts = {
        "hash": base64.b64encode(hashlib.sha256(scripts.encode()).digest()).decode(),
        "connect": connect,
        "title": title.encode("ascii", "xmlcharrefreplace").decode(),
        "style": (folder / "style.css").read_text("utf-8"),
        "content": values,
        "blobs": blobs,
        "scripts": scripts,
    }
    # In one pass, since the name of a run or of a column may look like a place.
    return re.sub(r"\{\{ (\w+) \}\}", lambda place: parts[place[1]], page)
