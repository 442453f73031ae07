"""``ganvae sample``, ``reconstruct`` and ``encode``: uses of a trained model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganvae_core.cli import describe
from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.output import counted, note, percent, said_if_slow, warnings_as_notes
from ganvae_core.cli.request import (
    CONDITION,
    DATA,
    OVERRIDES,
    SEED,
    Request,
    need_encoder,
    open_data,
    requested,
    usual_ending,
)
from ganvae_core.errors import DataError, RunError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganvae_core.data.split import Split
    from ganvae_core.runs.loading import Run
    from ganvae_core.types import Batch, Field

SHOWN = 5
"""Categories that are listed."""


@click.command()
@click.option("-n", "--count", type=WholeNumber(min=1), metavar="N",
              help="How many; by default 64 images, or 1,000 rows.")  # fmt: skip
@click.option("--noise/--mean", default=None,
              help="Draws from the observation (by default of tables and points), or its means.")  # fmt: skip
@requested(OVERRIDES, SEED, CONDITION)
def sample(request: Request, count: int | None, noise: bool | None) -> None:
    """Draw new samples from a trained model.

    The ending of FILE says how they are written: .png (a grid, or a plot), .npz or .npy, and what else fits the data:
    a folder (a name without an ending) of PNG files for images, .csv or .parquet with the columns and units of the data
    for tables. Tables and .npz also have the conditions of the samples, where a model takes any. The same seed gives
    the same samples. KEY=VALUE changes an option that may change after training, or how the run's data is read.

    \b
    ganvae sample runs/vae-digits-1 -n 100 -o samples.png
    ganvae sample runs/vae-wine-1 -n 1000 -o made.csv
    """
    from ganvae_core.runs.observers import PLOTTED, by_class, drawing_of
    from ganvae_core.views.files import check_memory, ending_of
    from ganvae_core.views.showing import show

    run, seed, view, spec = request.run, request.seed, request.run.view, request.run.spec
    count = count or (64 if view.as_grid else 1000)
    of_class = "".join("-of-" + re.sub(r"[^\w.,-]+", "_", each) for each in request.asked)
    output = request.output_for("samples", f"samples/seed-{seed}-n-{count}{of_class}{usual_ending(view)}")
    check_memory(count, spec, view, output)
    drawn = ending_of(output) == ".png"
    conditions, headings = request.condition(count), ()
    if drawn and not request.asked:
        # A grid puts each class in a column; files have classes as often as the training data has them.
        conditions, headings = by_class(run.model, spec, view, count)
    with said_if_slow(f"drawing {counted(count, 'sample')}"):
        samples = run.samples(count, seed=seed, condition=conditions, noise=noise)
        beside = drawn and (view.shows_real or not view.as_grid)
        real = _real(request, PLOTTED) if beside else None
        drawing = drawing_of(samples, spec, view, real, headings)
        show(view, drawing, spec, output, conditions_of(run, samples.condition, output))
    note(f"{counted(count, 'sample')} of {run.path} at step {run.step:,}")
    for line in describe.preference(run.directory) if request.checkpoint is None else ():
        note(line)
    for line in describe.noise(run.directory):
        note(line)
    if spec.fields and not drawn:
        _note_copies(request, drawing.rows, samples.condition)
    if spec.fields and not request.asked:
        _note_absent(drawing.rows, spec.fields)
    click.echo(str(output))


@click.command()
@click.option("-n", "--count", type=WholeNumber(min=1), metavar="N",
              help="How many rows; by default 32 images, or all rows of a table.")  # fmt: skip
@requested(OVERRIDES, DATA, CONDITION)
def reconstruct(request: Request, count: int | None) -> None:
    """Pass data through the encoder and the generator: originals beside their reconstructions.

    Takes held-out rows of the run's data, or rows of other data. A .png shows originals and reconstructions, and .npz
    has both; other files have the reconstructed rows. KEY=VALUE says how data is read, as with ganvae run.

    \b
    ganvae reconstruct runs/vae-photos-1 --data one.png data.resize=64
    """
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.types import Drawing
    from ganvae_core.views.showing import show, shown_rows

    run, view, spec = request.run, request.run.view, request.run.spec
    need_encoder(run)
    usual = f"reconstructions/n-{count or (32 if view.as_grid else 'all')}{usual_ending(view)}"
    output = request.output_for("reconstructions", usual)
    with said_if_slow("reading and reconstructing the data"), warnings_as_notes():
        split = request.open_data()
        rows = split.held_out if len(split.held_out) else split.training
        indices = evenly(rows, count or (32 if view.as_grid else len(rows)))
        condition = request.condition(len(indices))
        x, made = run.reconstruct(split, indices, condition=condition)
        batch = run.batch(split, indices)
        drawing = Drawing(
            shown_rows(made, spec, view), "reconstructions", originals=shown_rows(x, spec, view, batch.mask)
        )
        given = batch.condition if condition is None else condition
        show(view, drawing, spec, output, {"row": indices} | conditions_of(run, given, output))
    request.written(output, counted(len(indices), "reconstruction"))


@click.command()
@requested(OVERRIDES, DATA, CONDITION)
def encode(request: Request) -> None:
    """Write the codes of data: the means of the encoder's posterior, in the order of the data.

    FILE is a .npz with ``codes`` (rows, *latent shape), and ``labels`` where the data has any. KEY=VALUE says how data
    is read, as with ganvae run.

    \b
    ganvae encode runs/vae-mnist-1 --data mnist.npz data.key=x_test
    """
    import numpy as np

    from ganvae_core.views.showing import write_arrays

    run = request.run
    need_encoder(run)
    output = request.output_for("codes", "codes.npz", (".npz",))
    with said_if_slow("reading and encoding the data"), warnings_as_notes():
        split = request.open_data()
        indices = np.arange(len(split.source))
        codes = run.encode(split, indices, condition=request.condition(len(indices)))
        labels = {}
        if split.source.spec.classes:
            labels["labels"] = split.source.spec.class_values()[np.asarray(split.source.labels())]
        write_arrays(output, {"codes": codes, **labels})
    request.written(output, f"{counted(len(codes), 'code')} of shape {codes.shape[1:]}")


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


def _own_data(request: Request, without: str) -> Split | None:
    """The run's data, if it can be read; else a note that says what is done without it."""
    try:
        return open_data(request.run, options=request.options)
    except (DataError, RunError) as error:
        note(f"note: {without}: {error.message}")
        return None


def _note_copies(request: Request, rows: np.ndarray, condition: Tensor | None) -> None:
    """Say how many samples of a table equal a row that the model was trained on, the condition included."""
    import numpy as np

    from ganvae_core.data.codec import Codec, as_tensor
    from ganvae_core.evaluation.copies import share_of_copies

    split = _own_data(request, "whether samples equal training rows is not known")
    if split is None:
        return
    known = split.source.rows(split.training[:])
    real = known.x
    if condition is not None and known.labels is not None:
        given = Codec(request.run.spec, condition.device).condition(as_tensor(known.labels))
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
        note(f"note: no sample has {', '.join(absent[:SHOWN])}{more}, which the data often has")


def _real(request: Request, count: int) -> Batch | None:
    """Rows to draw samples over or below, if the run's data can be read."""
    from ganvae_core.evaluation.sampling import evenly

    split = _own_data(request, "drawn without the real data")
    return None if split is None else request.run.batch(split, evenly(split.training, count))
