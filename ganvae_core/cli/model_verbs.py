"""``ganvae sample``, ``reconstruct`` and ``encode``: uses of a trained model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.describe import preference
from ganvae_core.cli.frame import PathName, WholeNumber, current_catalogue
from ganvae_core.cli.output import counted, note, percent, said_if_slow, warn, warnings_as_notes
from ganvae_core.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganvae_core.data.split import Split
    from ganvae_core.runs.loading import Run
    from ganvae_core.types import Batch, Field, View

SHOWN = 5
"""Categories that are listed."""
RUN = click.argument("path", metavar="RUN", type=PathName())
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
CHECKPOINT = click.option("--checkpoint", metavar="STEP|best", help="Another than the newest checkpoint.")
DEVICE = click.option("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1, mps, …")
CONDITION = click.option(
    "--condition",
    "asked",
    metavar="C",
    multiple=True,
    help="A class's name, numbers like 0.5,1, or COLUMN=VALUE (several times), for all rows.",
)
DATA = click.option("--data", metavar="S", help="Other data than the run's.")
OUTPUT = click.option("-o", "--output", type=PathName(), metavar="FILE", help="Where to write.")


@click.command()
@RUN
@OVERRIDES
@click.option(
    "-n",
    "--count",
    type=WholeNumber(min=1),
    metavar="N",
    help="How many; by default 64 images, or 1,000 rows.",
)
@click.option(
    "--seed", type=WholeNumber(min=0), default=0, metavar="N", help="Other samples for another seed."
)
@CONDITION
@click.option("--noise/--mean", default=None,
              help="Draws from the observation (by default of tables and points), or its means.")  # fmt: skip
@CHECKPOINT
@DEVICE
@OUTPUT
def sample(
    path: Path,
    overrides: tuple[str, ...],
    count: int | None,
    seed: int,
    asked: tuple[str, ...],
    noise: bool | None,
    checkpoint: str | None,
    device: str,
    output: Path | None,
) -> None:
    """Draw new samples from a trained model.

    The ending of FILE says how they are written: .png (a grid, or a plot), .npz or .npy, and what else fits the data:
    a folder (a name without an ending) of PNG files for images, .csv or .parquet with the columns and units of the data
    for tables. Tables and .npz also have the conditions of the samples, where a model takes any. The same seed gives
    the same samples. KEY=VALUE changes an option that may change after training, or how the run's data is read.

    \b
    ganvae sample runs/vae-digits-1 -n 100 -o samples.png
    ganvae sample runs/vae-wine-1 -n 1000 -o made.csv
    """
    run, options = load(path, checkpoint, device, overrides)
    view, spec = run.view, run.spec
    count = count or (64 if view.as_grid else 1000)
    of_class = "".join("-of-" + re.sub(r"[^\w.,-]+", "_", each) for each in asked)
    output = output or path / f"samples/seed-{seed}-n-{count}{of_class}{_usual_ending(view)}"

    from ganvae_core.runs.observers import PLOTTED, by_class, drawing_of
    from ganvae_core.views.files import check_memory, ending_of
    from ganvae_core.views.showing import show

    _check_output(run, output, "samples")
    check_memory(count, spec, view, output)
    drawn = ending_of(output) == ".png"
    headings: tuple[str, ...] = ()
    if asked:
        conditions = run.condition(asked, count, seed=seed)
    else:
        # A grid puts each class in a column; files have classes as often as the training data has them.
        conditions, headings = by_class(run.model, spec, view, count) if drawn else (None, ())
    with said_if_slow(f"drawing {counted(count, 'sample')}"):
        samples = run.samples(count, seed=seed, condition=conditions, noise=noise)
        beside = drawn and (view.shows_real or not view.as_grid)
        real = _real(run, PLOTTED, options) if beside else None
        drawing = drawing_of(samples, spec, view, real, headings)
        show(view, drawing, spec, output, conditions_of(run, samples.condition, output))
    note(f"{counted(count, 'sample')} of {path} at step {run.step:,}")
    for line in preference(run.directory) if checkpoint is None else ():
        note(line)
    if spec.fields and not drawn:
        _note_copies(run, drawing.rows, samples.condition, options)
    if spec.fields and not asked:
        _note_absent(drawing.rows, spec.fields)
    click.echo(str(output))


@click.command()
@RUN
@OVERRIDES
@DATA
@click.option(
    "-n",
    "--count",
    type=WholeNumber(min=1),
    metavar="N",
    help="How many rows; by default 32 images, or all rows of a table.",
)
@CONDITION
@CHECKPOINT
@DEVICE
@OUTPUT
def reconstruct(
    path: Path,
    overrides: tuple[str, ...],
    data: str | None,
    count: int | None,
    asked: tuple[str, ...],
    checkpoint: str | None,
    device: str,
    output: Path | None,
) -> None:
    """Pass data through the encoder and the generator: originals beside their reconstructions.

    Takes held-out rows of the run's data, or rows of other data. A .png shows originals and reconstructions, and .npz
    has both; other files have the reconstructed rows. KEY=VALUE says how data is read, as with ganvae run.

    \b
    ganvae reconstruct runs/vae-photos-1 --data one.png data.resize=64
    """
    run, options = load(path, checkpoint, device, overrides)
    _need_encoder(run, path)
    view, spec = run.view, run.spec
    output = (
        output or path / f"reconstructions/n-{count or (32 if view.as_grid else 'all')}{_usual_ending(view)}"
    )

    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.types import Drawing
    from ganvae_core.views.showing import show, shown_rows

    _check_output(run, output, "reconstructions", data)
    with said_if_slow("reading and reconstructing the data"), warnings_as_notes():
        split = open_with(run, data, options, asked)
        rows = split.held_out if len(split.held_out) else split.training
        indices = evenly(rows, count or (32 if view.as_grid else len(rows)))
        condition = run.condition(asked, len(indices)) if asked else None
        x, made = run.reconstruct(split, indices, condition=condition)
        batch = run.batch(split, indices)
        drawing = Drawing(
            shown_rows(made, spec, view), "reconstructions", originals=shown_rows(x, spec, view, batch.mask)
        )
        given = batch.condition if condition is None else condition
        further = {"row": indices} | conditions_of(run, given, output)
        show(view, drawing, spec, output, further)
    note(f"{counted(len(indices), 'reconstruction')} by {path} at step {run.step:,}")
    click.echo(str(output))


@click.command()
@RUN
@OVERRIDES
@DATA
@CONDITION
@CHECKPOINT
@DEVICE
@OUTPUT
def encode(
    path: Path,
    overrides: tuple[str, ...],
    data: str | None,
    asked: tuple[str, ...],
    checkpoint: str | None,
    device: str,
    output: Path | None,
) -> None:
    """Write the codes of data: the means of the encoder's posterior, in the order of the data.

    FILE is a .npz with ``codes`` (rows, *latent shape), and ``labels`` where the data has any. KEY=VALUE says how data
    is read, as with ganvae run.

    \b
    ganvae encode runs/vae-mnist-1 --data mnist.npz data.key=x_test
    """
    run, options = load(path, checkpoint, device, overrides)
    output = output or path / "codes.npz"
    _need_encoder(run, path)
    _check_output(run, output, "codes", data, (".npz",))

    import numpy as np

    from ganvae_core.views.showing import write_arrays

    with said_if_slow("reading and encoding the data"), warnings_as_notes():
        split = open_with(run, data, options, asked)
        indices = np.arange(len(split.source))
        condition = run.condition(asked, len(indices)) if asked else None
        arrays = {"codes": run.encode(split, indices, condition=condition)}
        if split.source.spec.classes:
            arrays["labels"] = split.source.spec.class_values()[np.asarray(split.source.labels())]
        write_arrays(output, arrays)
    codes = arrays["codes"]
    note(f"{counted(len(codes), 'code')} of shape {codes.shape[1:]} by {path} at step {run.step:,}")
    click.echo(str(output))


def load(
    path: Path, checkpoint: str | None, device: str, overrides: Sequence[str] = ()
) -> tuple[Run, Mapping[str, Any]]:
    """A run, and the settings of data among the overrides; with a warning for each damaged checkpoint passed over."""
    from ganvae_core.config.configuration import as_named
    from ganvae_core.config.layers import parse_overrides
    from ganvae_core.runs.loading import read_run

    layer = dict(parse_overrides(overrides))
    options = as_named(layer.pop("data"), "data") if "data" in layer else {}
    run = read_run(path, checkpoint=checkpoint, device=device, catalogue=current_catalogue(), layer=layer)
    for passed_over in run.damage:
        warn(passed_over)
    return run, options


def open_with(run: Run, data: str | None, options: Mapping[str, Any], asked: Sequence[str]) -> Split:
    """The run's data, or other data, which needs no labels where a condition is asked for."""
    unlabelled = {"condition": False} if asked and data is not None else {}
    return run.open_data(data, {**options, **unlabelled})


def _need_encoder(run: Run, path: Path) -> None:
    if run.model.encoder is None:
        raise ConfigurationError(
            f"{path} has no encoder: {run.configuration.plugin} makes data from codes and not codes from data.",
            "train a model that has one:  ganvae run --plugin vae",
        )


def _usual_ending(view: View) -> str:
    return view.endings[0] if view.endings else ".npz"


def _check_output(
    run: Run, output: Path, what: str, data: str | None = None, endings: tuple[str, ...] | None = None
) -> None:
    """Refuse an output that cannot be written, the run's own data, and the data to be read."""
    from ganvae_core.views.files import ARRAYS, check_output

    check_output(output, what, (*run.view.endings, *ARRAYS) if endings is None else endings)
    learned_from = run.configuration.components["data"].options.get("path")
    if learned_from is not None and output.resolve() == Path(learned_from).resolve():
        raise ConfigurationError(
            f"-o {output}: this is the data that the run learned from; name another file."
        )
    if data is not None and output.resolve() == Path(os.path.expanduser(data)).resolve():
        raise ConfigurationError(f"-o {output}: this is the data that is to be read; name another file.")


def conditions_of(run: Run, given: Tensor | None, output: Path) -> dict[str, np.ndarray]:
    """The conditions (N, *K) of rows as they are written to files: columns, names of classes, or numbers."""

    from ganvae_core.runs.observers import class_numbers
    from ganvae_core.views.files import ARRAYS, ending_of

    if given is None:
        return {}
    if run.spec.condition_fields:
        from ganvae_core.data.fields import rows_of_fields

        rows = rows_of_fields(given.cpu().numpy(), run.spec.condition_fields)
        return {field.name: rows[:, at] for at, field in enumerate(run.spec.condition_fields)}
    given = given.cpu()
    numbers = class_numbers(given, run.spec)
    if numbers is None:
        return {"condition": given.numpy()}
    options = run.configuration.components["data"].options
    column = None if ending_of(output) in ARRAYS else run.spec.details.get("label") or options.get("label")
    return {column or "label": run.spec.class_values()[numbers]}


def _own_data(run: Run, options: Mapping[str, Any], without: str) -> Split | None:
    """The run's data, if it can be read; else a note that says what is done without it."""
    from ganvae_core.errors import RunError

    try:
        with warnings_as_notes():
            return run.open_data(None, options)
    except (DataError, RunError) as error:
        note(f"note: {without}: {error.message}")
        return None


def _note_copies(run: Run, rows: np.ndarray, condition: Tensor | None, options: Mapping[str, Any]) -> None:
    """Say how many samples of a table equal a row that the model was trained on, the condition included."""
    import numpy as np

    from ganvae_core.data.codec import Codec, as_tensor
    from ganvae_core.evaluation.copies import share_of_copies

    split = _own_data(run, options, "whether samples equal training rows is not known")
    if split is None:
        return
    known = split.source.rows(split.training[:])
    real = known.x
    if condition is not None and known.labels is not None:
        given = Codec(run.spec, condition.device).condition(as_tensor(known.labels))
        assert given is not None
        rows, real = np.concatenate([rows, condition.numpy()], 1), np.concatenate([real, given.numpy()], 1)
    share = share_of_copies(rows, real)
    note(f"{percent(share)} of the samples equal a training row in every column" if share else
         "no sample equals a training row in every column")  # fmt: skip


def _note_absent(rows: np.ndarray, fields: Sequence[Field]) -> None:
    """Say which categories the data often has and no sample."""
    from ganvae_core.evaluation.copies import absent_categories

    absent = absent_categories(rows, fields)
    more = f" and {len(absent) - SHOWN:,} more" if len(absent) > SHOWN else ""
    if absent:
        note(f"note: no sample has {', '.join(absent[:SHOWN])}{more}, of which the data has many")


def _real(run: Run, count: int, options: Mapping[str, Any]) -> Batch | None:
    """Rows to draw samples over or below, if the run's data can be read."""
    from ganvae_core.evaluation.sampling import evenly

    split = _own_data(run, options, "drawn without the real data")
    return None if split is None else run.batch(split, evenly(split.training, count))
