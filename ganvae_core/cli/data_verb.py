"""``ganvae data``: describes a source of data."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli import describe, table_facts
from ganvae_core.cli.frame import PathName, current_catalogue
from ganvae_core.cli.output import aligned, note, print_json, said_if_slow, table
from ganvae_core.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

    from ganvae_core.config.configuration import Choice
    from ganvae_core.data.split import Split
    from ganvae_core.interfaces import Source
    from ganvae_core.plugins import Catalogue
    from ganvae_core.types import DataSpec, View

LISTED_CLASSES = 20
LISTED_COLUMNS = 40
LOOKED_AT = 1_000
"""Rows whose values are looked at where each has to be decoded."""
PREVIEWED = 32
"""Rows in a preview that is a grid."""
PIECE_VALUES = 2**22
"""Values per chunk: data may be larger than memory."""


@dataclass(frozen=True)
class Contents:
    """Statistics of all rows, from one pass.

    Args:
        low: lowest value, in the source's units: () or, for flat rows, (D,) of each column.
        high: highest value likewise.
        counts: (classes,) rows of each class; None where rows have no label.
    """

    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray | None


class Describing(click.Group):
    """Verbs on data; without one of their names, the first argument is a source to describe."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help", "-h"):
            args = ["describe", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Describing, subcommand_metavar="S [KEY=VALUE]... | prepare S -o FOLDER")
def data() -> None:
    """Describe S: the name of a source, or the path of your data, as with ganvae run --data S.

    \b
    ganvae data digits -o preview.png
    ganvae data photos/ data.resize=64 --json
    ganvae data prepare photos/ data.resize=64 -o photos-64
    """


@data.command(name="describe")
@click.argument("source", metavar="S")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-o", "file", type=PathName(), metavar="FILE", help="Draw a preview: a .png file.")
def describe_data(source: str, overrides: tuple[str, ...], as_json: bool, file: Path | None) -> None:
    """Describe S, as ganvae data S does."""
    layer = read_arguments(source, overrides)
    if file is not None and file.suffix.lower() != ".png":
        raise ConfigurationError(f"-o {file}: a preview is a .png file.", "-o preview.png")
    with said_if_slow(f"reading {source}"):
        catalogue = current_catalogue()

        from ganvae_core.config.build import open_data
        from ganvae_core.views.finding import view_of

        choice, split = open_data(catalogue, layer)
        contents = look_through(split.source)
        if file is not None:
            draw(split, file)
    if as_json:
        print_json(as_plain(choice, split, contents, file))
        return
    view = view_of(split.source.spec, catalogue)
    for line in aligned(facts(choice, split, contents, view)):
        click.echo(line)
    typed = shlex.join([source, *overrides])
    if split.source.spec.fields:
        list_fields(split.source)
    else:
        list_columns(split.source.spec, contents)
    for remark in split.source.notes:
        note(f"note: {remark}")
    if split.source.spec.fields:
        for line in table_facts.changes(split.source.spec, typed):
            note(line)
    if _may_be_series(split.source):
        for name in catalogue.sources_also_reading(source):
            summary = catalogue.component("source", name)[1].summary
            note(f"{summary}:  ganvae data {name} data.path={shlex.quote(source)}")
            note(
                f"  and to train on it:  ganvae run --plugin {name.partition('/')[0]} --data {shlex.quote(source)}"
            )
    if file:
        note(f"preview:  {file}")
    elif ".png" in view.endings:
        note(f"a preview:  ganvae data {typed} -o preview.png")
    if split.source.spec.fields:
        return
    note(f"next:  ganvae run --plugin {_plugin_for(view.plugin, catalogue)} --data {typed}")
    recipe = _sharper(split.source.spec)
    if ("dcgan", recipe) in catalogue.recipes():
        note(f"sharper pictures:  ganvae run --plugin dcgan --recipe {recipe} --data {typed}")


def _may_be_series(source: Source) -> bool:
    """Whether rows are windows, or have dates that differ and leave more values than gaps: dates of birth do not."""
    import numpy as np

    spec = source.spec
    date = next((at for at, field in enumerate(spec.fields or ()) if field.kind == "date"), None)
    if date is None:
        return spec.modality == "array" and len(spec.shape) == 2
    times = np.sort(source.rows(slice(None)).x[:, date])
    times = times[~np.isnan(times)]
    least = np.diff(times).min(initial=np.inf)
    return bool(least > 0 and times[-1] - times[0] < 2 * len(times) * least)


def _plugin_for(of_view: str, catalogue: Catalogue) -> str:
    """The plugin with a recipe for data that a plugin's view shows."""
    names = catalogue.with_recipes()
    return next((name for name in (of_view, "vae", *names) if name in names), "vae")


def _sharper(spec: DataSpec) -> str | None:
    """The recipe of ``dcgan`` whose samples of such images are sharper than a VAE's after minutes on a CPU."""
    if spec.modality != "image" or not all(16 <= side <= 128 for side in spec.shape[1:]):
        return None
    return "photos" if spec.shape[0] > 1 and max(spec.shape[1:]) <= 48 else "small"


@data.command()
@click.argument("source", metavar="S")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("-o", "folder", type=PathName(), metavar="FOLDER", required=True, help="Where to write.")
def prepare(source: str, overrides: tuple[str, ...], folder: Path) -> None:
    """Decode and resize the rows of S once, and pack them in FOLDER, which --data reads by mapping it.

    After an interruption the same command goes on where it was.

    \b
    ganvae data prepare photos/ data.resize=64 -o photos-64
    ganvae run --plugin vae --data photos-64
    """
    from rich.console import Console
    from rich.progress import Progress

    layer = read_arguments(source, overrides)
    with said_if_slow(f"reading {source}"):
        catalogue = current_catalogue()

        from ganvae_core.config.build import open_data
        from ganvae_core.data.packed import pack
        from ganvae_core.views.finding import view_of

        _, split = open_data(catalogue, layer)
    typed = shlex.join([source, *overrides])
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("preparing", total=len(split.source))
        pack(split.source, typed, folder, lambda done: progress.update(task, completed=done))
    for remark in split.source.notes:
        note(f"note: {remark}")
    spec = split.source.spec
    note(f"{describe.amount(len(split.source), spec)}, {spec.units.dtype}")
    plugin = "table-vae" if spec.fields else _plugin_for(view_of(spec, catalogue).plugin, catalogue)
    note(f"next:  ganvae run --plugin {plugin} --data {shlex.quote(str(folder))}")
    click.echo(str(folder))


def read_arguments(source: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The arguments as a layer of settings.

    Raises:
        ConfigurationError: an argument is no setting of data.
    """
    from ganvae_core.config.layers import parse_overrides

    for override in overrides:
        key, sign, value = override.partition("=")
        if sign and not key.strip().startswith("data."):
            raise ConfigurationError(
                f"'{key}' is not a setting of data: they are written data.KEY=VALUE, like data.resize=64.",
                "" if "." in key else f"did you mean data.{key}={value}?",
            )
    return parse_overrides([f"data={source}", *overrides])


def look_through(source: Source) -> Contents:
    """Go through all rows once, in pieces; through some of them where each has to be decoded."""
    import numpy as np

    from ganvae_core.evaluation.sampling import evenly

    spec = source.spec
    counts = np.bincount(np.asarray(source.labels()), minlength=len(spec.classes)) if spec.classes else None
    if spec.fields:  # columns are described one by one
        return Contents(np.zeros(1), np.zeros(1), counts)
    axes = 0 if len(spec.shape) == 1 else None  # flat rows have statistics by column
    count = max(1, PIECE_VALUES // math.prod(spec.shape))
    chosen = np.arange(len(source))
    chosen = evenly(chosen, LOOKED_AT) if source.is_lazy else chosen
    lows: list[np.ndarray] = []
    highs: list[np.ndarray] = []
    for start in range(0, len(chosen), count):
        rows = source.rows(chosen[start : start + count])
        x = rows.x if rows.mask is None else np.ma.masked_array(rows.x, ~rows.mask)
        lows.append(np.asarray(x.min(axis=axes)))
        highs.append(np.asarray(x.max(axis=axes)))
    return Contents(np.min(lows, axis=0), np.max(highs, axis=0), counts)


def facts(choice: Choice, split: Split, contents: Contents, view: View) -> list[tuple[str, str]]:
    """The description, a line for each property."""
    source = split.source
    spec = source.spec
    path = choice.options.get("path")
    low, high = contents.low.min(), contents.high.max()
    found = [("source", choice.id), *([("path", str(path))] if path else [])]
    found += [
        ("rows", describe.amount(len(source), spec)),
        ("split", f"{len(split.training):,} to learn from, {len(split.held_out):,} held out"),
    ]
    if spec.fields:
        found.append(("models see", table_facts.seen(spec)))
    else:
        found.append(("shape", f"{spec.shape}, {spec.modality}"))
        if view.quantities:
            found.append(("values", f"{low:g} to {high:g}, {spec.units.dtype}"))
            found.append(("models see", scaling(spec)))
        elif spec.range is not None:
            found.append(("models see", f"tokens, of which there are {spec.range[1] + 1:,.0f}"))
        found += [("because", source.why)] if source.why else []
    if contents.counts is not None and spec.classes is not None:
        found.append(("classes", classes(spec.classes, contents.counts)))
    elif spec.condition_fields:
        found.append(("condition", ", ".join(field.name for field in spec.condition_fields)))
    elif spec.condition is not None:
        found.append(("condition", f"{spec.condition}"))
    return [*found, ("size", bytes_text(size_in_memory(source)))]


def scaling(spec: DataSpec) -> str:
    """The mapping from the source's values to the model's inputs."""
    offset, scale = spec.units.offset, spec.units.scale
    if len(scale) != 1 or len(offset) != 1:
        kind = "column" if len(spec.shape) == 1 or spec.details.get("columns") else "channel"
        if spec.range is None:
            return f"each {kind} standardised: (value − mean) / scale"
        return (
            f"each {kind} from its lowest to its highest value, within {spec.range[0]:g} to {spec.range[1]:g}"
        )
    shifted = f"(value {'−' if offset[0] > 0 else '+'} {abs(offset[0]):g})" if offset[0] else "value"
    text = f"{shifted} / {scale[0]:g}" if scale[0] != 1 else shifted
    text = "the values as they are" if text == "value" else text
    return text if spec.range is None else f"{text}, within {spec.range[0]:g} to {spec.range[1]:g}"


def classes(names: Sequence[str], counts: np.ndarray) -> str:
    """The classes with their numbers of rows, unless there are too many."""
    if len(names) > LISTED_CLASSES:
        return f"{len(names):,}, of {counts.min():,} to {counts.max():,} rows"
    listed = " · ".join(f"{name} ({count:,})" for name, count in zip(names, counts.tolist(), strict=True))
    return f"{len(names)}: {listed}"


def size_in_memory(source: Source) -> int:
    """Bytes of all rows in their own type."""
    import numpy as np

    values = len(source.spec.fields) if source.spec.fields else math.prod(source.spec.shape)
    return len(source) * values * np.dtype(source.spec.units.dtype).itemsize


def bytes_text(size: float) -> str:
    """``3.1 MiB``."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def columns(spec: DataSpec, contents: Contents) -> list[dict[str, Any]]:
    """Each column with its mean, scale and extent, where columns are scaled one by one."""
    units = spec.units
    if len(spec.shape) != 1 or len(units.scale) != spec.shape[0]:
        return []
    from ganvae_core.views.table import column_names

    values = zip(
        column_names(spec),
        units.offset,
        units.scale,
        contents.low.tolist(),
        contents.high.tolist(),
        strict=True,
    )
    return [dict(zip(("name", "mean", "scale", "lowest", "highest"), row, strict=True)) for row in values]


def list_fields(source: Source) -> None:
    """Print the columns of a table, the first ones of a wide one."""
    found = table_facts.column_facts(source)
    click.echo()
    table(table_facts.column_rows(found[:LISTED_COLUMNS]), table_facts.HEADINGS)
    click.echo()
    if len(found) > LISTED_COLUMNS:
        note(f"and {len(found) - LISTED_COLUMNS:,} more columns; --json lists all")


def list_columns(spec: DataSpec, contents: Contents) -> None:
    """Print the first columns."""
    found = columns(spec, contents)
    if found:
        click.echo()
        rows = [
            [f"{value:.5g}" if isinstance(value, float | int) else value for value in column.values()]
            for column in found[:LISTED_COLUMNS]
        ]
        table(rows, ("column", "mean", "scale", "lowest", "highest"))
    if len(found) > LISTED_COLUMNS:
        note(f"and {len(found) - LISTED_COLUMNS:,} more columns; --json lists all")


def as_plain(choice: Choice, split: Split, contents: Contents, file: Path | None) -> dict[str, Any]:
    """All of it as JSON values."""
    source, spec = split.source, split.source.spec
    per_class = None
    if contents.counts is not None and spec.classes is not None:
        per_class = dict(zip(spec.classes, contents.counts.tolist(), strict=True))
    return {
        "source": choice.id,
        "options": choice.options,
        "rows": len(source),
        "training": len(split.training),
        "held_out": len(split.held_out),
        "shape": spec.shape,
        "modality": spec.modality,
        "dtype": spec.units.dtype,
        "lowest": contents.low.min().item(),
        "highest": contents.high.max().item(),
        "range": spec.range,
        "units": {"offset": spec.units.offset, "scale": spec.units.scale},
        "condition": spec.condition,
        "classes": per_class,
        "columns": table_facts.column_facts(source) if spec.fields else columns(spec, contents),
        "bytes": size_in_memory(source),
        "why": source.why,
        "notes": source.notes,
        "preview": file,
    }


def draw(split: Split, file: Path) -> None:
    """Draw some rows, spread evenly over the data.

    Raises:
        ConfigurationError: there is no picture for such data.
    """
    import numpy as np

    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.runs.observers import PLOTTED
    from ganvae_core.types import Drawing
    from ganvae_core.views.finding import view_of
    from ganvae_core.views.showing import show, with_gaps

    source = split.source
    view = view_of(source.spec, current_catalogue())
    if ".png" not in view.endings:
        raise ConfigurationError(f"-o {file}: there is no picture for rows of shape {source.spec.shape}.")
    indices = evenly(np.arange(len(source)), PREVIEWED if view.as_grid else PLOTTED)
    rows = source.rows(indices)
    show(view, Drawing(with_gaps(rows.x, rows.mask, view), "rows"), source.spec, file)
