"""Checks of views and of schedules."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image

from ganvae_core.data.codec import Codec, as_tensor
from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_core.interfaces import Source
from ganvae_core.types import DataSpec, Drawing, Shown, View
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.data import LARGER, USUAL, RandomRows, seeded
from ganvae_kit.situations import Situation, opened_from, situations
from ganvae_kit.subjects import Component

SHOWN_ROWS = 6
MOST_SPECS = 2
"""Specifications of data that a view is tried on."""
ROUNDING = 0.01
"""How far a value may be from what was written, as a share of the span of all: an 8-bit file holds 256 values."""
SEEN = (0, 1, 64, 1_000, 100_000, 10**9)
TOTAL = 50_000


@check("view", needs=["makes"])
def endings(component: Component) -> None:
    """It implements what its endings ask for: ``draw`` for .png, ``write`` for others, each as .ending or empty."""
    made: type[View] = component.target
    for ending in made.endings:
        if ending and (not ending.startswith(".") or ending != ending.lower()):
            raise CheckFailure(f"the ending {ending!r} matches no file", "write it as '.wav'")
        method = "draw" if ending == ".png" else "write"
        if getattr(made, method) is getattr(View, method):
            raise CheckFailure(f"its endings have {ending!r}, and it does not implement {method}")
    if made.shown not in get_args(Shown):
        raise CheckFailure(f"shown is {made.shown!r}, and not 'mean' or 'draw'")


@check("view", needs=["endings"], each=situations)
def pictures_and_files(situation: Situation) -> None:
    """Rows that it fits are described, drawn and written, and a source that reads such a file gives them back."""
    found = list(_shown(situation.component))[:MOST_SPECS]
    if not found:
        raise NotChecked("it fits no data that the kit or the plugin has  (give data= to PluginSuite)")
    view: View = situation.make()
    for spec, rows in found:
        described: Any = view.describe(spec)  # of whatever type
        if not isinstance(described, str):
            raise CheckFailure("describe returns no text")
        for ending in view.endings:
            with tempfile.TemporaryDirectory() as folder:
                kept, path = rows.copy(), Path(folder, f"rows{ending}")
                (_draw if ending == ".png" else _write)(situation, view, spec, rows, path)
            if not np.array_equal(kept, rows):
                method = "draw" if ending == ".png" else "write"
                raise CheckFailure(f"{method} changes the rows that it is given")


def _shown(component: Component) -> Iterator[tuple[DataSpec, np.ndarray]]:
    """Data of the view's modality that it fits, with some rows: of the plugin's sources, its author, and the kit."""
    name, view = component.spec.name, component.target()
    opened: list[Source] = [
        at.opened for source in component.owner.components if source.of == "source"
        for at in source.tried if at.refusal is None and at.opened.spec.modality == name
    ]  # fmt: skip
    others = [*component.owner.given.data, *USUAL.values(), *LARGER.values()]
    opened += [RandomRows(replace(spec, modality=name)) for spec in others]
    for source in opened:
        if view.fits(source.spec):
            yield source.spec, source.rows(slice(0, SHOWN_ROWS)).x


def _draw(situation: Situation, view: View, spec: DataSpec, rows: np.ndarray, path: Path) -> None:
    """Draw rows, and reconstructions beside their originals; means are floating point."""
    means = rows.astype(np.float64)
    for drawing in (Drawing(rows, real=rows), Drawing(means, name="reconstructions", originals=rows)):
        view.draw(drawing, spec, path)
        try:
            with Image.open(path) as image:
                image.verify()
        except OSError as error:
            raise CheckFailure(f"draw writes no picture: {error}") from None
        path.unlink()


def _write(situation: Situation, view: View, spec: DataSpec, rows: np.ndarray, path: Path) -> None:
    """Write rows, with an array that belongs to them and alone, and read them back.

    What was written is compared with what the first source that reads such a path gives, where it holds as many rows in
    the same units.
    """
    kept = rows.copy()
    view.write(rows, spec, path.with_name(f"further{path.suffix}"), {"number": np.arange(len(rows))})
    view.write(rows, spec, path, {})
    if not path.exists():
        raise CheckFailure(f"write makes no {path.suffix or 'folder'}")
    owner = situation.component.owner
    for identity in owner.catalogue.sources_reading(str(path), owner.plugin.name)[:1]:
        try:
            source = opened_from(identity, path, owner.catalogue)
        except GanvaeError:
            return  # it needs settings
        if len(source) != len(rows) or (spec.range is None) != (source.spec.range is None):
            return  # a file of another layout, or in other units, such as a table that is standardised
        written, read = _comparable(spec, kept), _comparable(source.spec, source.rows(slice(None)).x)
        atol = ROUNDING * float(np.ptp(written))
        same = read.shape == written.shape and np.allclose(read, written, rtol=0.0, atol=atol)
        if not same and np.array_equal(kept, rows):
            raise CheckFailure(f"'{identity}' reads rows from {path.name} that differ from those written")


def _comparable(spec: DataSpec, rows: np.ndarray) -> np.ndarray:
    """Rows as shares of their range, or in the source's own units where they have none."""
    if spec.range is None:
        return rows.astype(np.float64)
    low, high = spec.range
    return (Codec(spec, torch.device("cpu")).x(as_tensor(rows)).numpy() - low) / (high - low)


@check("schedule", needs=["makes"], each=situations)
def schedule_values(situation: Situation) -> None:
    """Its value is a finite number that follows from the rows seen alone: the same in any order and in another copy.

    Without the length of the training it may refuse.
    """
    made, copy = situation.make(), situation.make(seed=1)
    for total in (None, TOTAL):
        try:
            with seeded():
                values: list[Any] = [made(seen, total) for seen in SEEN]
        except ConfigurationError:
            if total is not None:
                raise
            continue
        for seen, value in zip(SEEN, values, strict=True):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise CheckFailure(f"after {seen:,} rows it is {value!r}, not a finite number")
        for which in (made, copy):
            with seeded(1):
                again = [which(seen, total) for seen in reversed(SEEN)][::-1]
            if again != values:
                hint = "a schedule keeps no state and draws nothing: a resumed run asks it for any number of rows"
                raise CheckFailure(f"its values are {values} and then {again}, after the same rows", hint)
