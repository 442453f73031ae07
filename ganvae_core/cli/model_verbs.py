"""``ganvae sample``, ``reconstruct`` and ``encode``: what a trained model is used for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganvae_core.cli.frame import PathName, WholeNumber, current_catalogue
from ganvae_core.cli.output import note, said_if_slow, warn
from ganvae_core.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganvae_core.data.split import Split
    from ganvae_core.runs.loading import Run

RUN = click.argument("path", metavar="RUN", type=PathName())
CHECKPOINT = click.option("--checkpoint", metavar="STEP|best", help="Another than the newest checkpoint.")
DEVICE = click.option("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1, mps, …")
DATA = click.option("--data", metavar="S", help="Other data than the run's.")
OUTPUT = click.option("-o", "--output", type=PathName(), metavar="FILE", help="Where to write.")


@click.command()
@RUN
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
@click.option("--condition", metavar="C", help="A class's name, or numbers like 0.5,1, for all samples.")
@click.option("--noise/--mean", default=None,
              help="Draws from the observation (by default for tables and points), or its means.")  # fmt: skip
@CHECKPOINT
@DEVICE
@OUTPUT
def sample(
    path: Path,
    count: int | None,
    seed: int,
    condition: str | None,
    noise: bool | None,
    checkpoint: str | None,
    device: str,
    output: Path | None,
) -> None:
    """Draw new samples from a trained model.

    The ending of FILE says how they are written: .png (a grid, or a plot), a folder of PNG files, .npz or .npy, and for
    tables .csv or .parquet with the columns and units of the data. Tables and .npz also say what each sample was made
    for, where a model takes conditions. The same seed gives the same samples.

    \b
    ganvae sample runs/vae-digits-1 -n 100 -o samples.png
    ganvae sample runs/vae-wine-1 -n 1000 -o made.csv
    """
    run = _load(path, checkpoint, device)
    image = run.spec.modality == "image"
    count = count or (64 if image else 1000)
    of_class = "" if condition is None else "-of-" + re.sub(r"[^\w.,-]+", "_", condition)
    output = output or _within(path, f"samples/seed-{seed}-n-{count}{of_class}{_default_ending(run)}")

    from ganvae_core.evaluation.sampling import can_sample, drawn_with_noise, sample_rows
    from ganvae_core.runs.observers import by_class
    from ganvae_core.views.files import check_memory, is_folder, sample_endings

    _check_output(run, output, "samples", sample_endings(run.spec), folder=image)
    if not can_sample(run.model):
        raise ConfigurationError(
            f"this run cannot be sampled yet: its prior is fitted when training ends, and it is at step {run.step:,}.",
            f"go on with it:  ganvae run --resume {shlex.quote(str(path))}",
        )
    grid = output.suffix.lower() == ".png" and not is_folder(output)
    check_memory(count, run.spec, grid=grid)
    headings: tuple[str, ...] = ()
    if condition is not None:
        conditions = run.condition(condition, count)
    else:
        # A grid puts each class in a column; files have classes as often as the training data has them.
        conditions, headings = by_class(run.model, run.spec, count) if grid else (None, ())
    with said_if_slow(f"drawing {count:,} samples"):
        noise = drawn_with_noise(run.model, run.spec) if noise is None else noise
        made, given = sample_rows(run.model, count, seed, run.device, conditions, noise=noise)
        _write_samples(run, made, given, output, headings)
    note(f"{count:,} samples of {path} at step {run.step:,}")
    click.echo(str(output))


@click.command()
@RUN
@DATA
@click.option(
    "-n",
    "--count",
    type=WholeNumber(min=1),
    metavar="N",
    help="How many rows; by default 32 images, or all rows of a table.",
)
@CHECKPOINT
@DEVICE
@OUTPUT
def reconstruct(
    path: Path,
    data: str | None,
    count: int | None,
    checkpoint: str | None,
    device: str,
    output: Path | None,
) -> None:
    """Pass data through the encoder and the generator: originals beside what the model makes of them.

    Takes held-out rows of the run's data, or rows of other data. A .png shows originals above reconstructions; .npz has
    both; .csv and .parquet have the reconstructed rows.
    """
    run = _load(path, checkpoint, device)
    _need_encoder(run, path)
    image = run.spec.modality == "image"

    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.views.files import reconstruction_endings

    possible = reconstruction_endings(run.spec)
    output = output or _within(path, f"reconstructions/n-{count or (32 if image else 'all')}{possible[0]}")
    _check_output(run, output, "reconstructions", possible, data)
    with said_if_slow("reading and reconstructing the data"):
        split = run.open_data(data)
        rows = split.held_out if len(split.held_out) else split.training
        indices = evenly(rows, count or (32 if image else len(rows)))
        original, made = _reconstructed(run, split, indices)
        _write_reconstructions(run, original, made, indices, output)
    note(f"{len(indices):,} reconstructions by {path} at step {run.step:,}")
    click.echo(str(output))


@click.command()
@RUN
@DATA
@CHECKPOINT
@DEVICE
@OUTPUT
def encode(path: Path, data: str | None, checkpoint: str | None, device: str, output: Path | None) -> None:
    """Write the codes of data: the means of the encoder's posterior, in the order of the data.

    FILE is a .npz with ``codes`` (rows, *latent shape), and ``labels`` where the data has any.
    """
    run = _load(path, checkpoint, device)
    output = output or _within(path, "codes.npz")
    _need_encoder(run, path)
    _check_output(run, output, "codes", [".npz"], data)

    import numpy as np

    from ganvae_core.views.files import write_arrays

    with said_if_slow("reading and encoding the data"):
        split = run.open_data(data)
        indices = np.arange(len(split.source))
        codes = np.concatenate([_codes(run, split, part) for part in _chunks(indices)])
    arrays = {"codes": codes}
    classes = split.source.spec.classes
    if classes:
        arrays["labels"] = np.asarray(classes)[np.asarray(split.source.labels())]
    write_arrays(output, arrays)
    note(f"{len(codes):,} codes of shape {codes.shape[1:]} by {path} at step {run.step:,}")
    click.echo(str(output))


def _load(path: Path, checkpoint: str | None, device: str) -> Run:
    catalogue = current_catalogue()
    from ganvae_core.runs.loading import read_run

    run = read_run(path, checkpoint=checkpoint, device=device, catalogue=catalogue)
    for passed_over in run.damage:
        warn(passed_over)
    return run


def _within(path: Path, name: str) -> Path:
    """Where something goes that a person has named no place for: into the run, and nowhere else."""
    from ganvae_core.store.ownership import refuse_links

    refuse_links(path, name.partition("/")[0])
    return path / name


def _need_encoder(run: Run, path: Path) -> None:
    if run.model.encoder is None:
        raise ConfigurationError(
            f"{path} has no encoder: {run.configuration.plugin} makes data from codes and not codes from data.",
            "train a model that has one:  ganvae run --plugin vae",
        )


def _check_output(
    run: Run,
    output: Path,
    what: str,
    possible: Sequence[str],
    data: str | None = None,
    *,
    folder: bool = False,
) -> None:
    """Refuse what cannot be written to, the file that the run learned from, and the one that is to be read."""
    from ganvae_core.views.files import check_output

    check_output(output, what, possible, folder=folder)
    learned_from = run.configuration.components["data"].options.get("path")
    if learned_from is not None and output.resolve() == Path(learned_from).resolve():
        raise ConfigurationError(
            f"-o {output}: this is the data that the run learned from; name another file."
        )
    if data is not None and output.resolve() == Path(data).expanduser().resolve():
        raise ConfigurationError(f"-o {output}: this is the data that is to be read; name another file.")


def _default_ending(run: Run) -> str:
    return {"image": ".png", "points": ".png", "table": ".csv"}.get(run.spec.modality, ".npz")


def _write_samples(
    run: Run, made: Tensor, given: Tensor | None, output: Path, headings: Sequence[str]
) -> None:
    from ganvae_core.data.codec import in_own_units
    from ganvae_core.runs.observers import PLOTTED, labels_of, visible
    from ganvae_core.views.files import TABLES, is_folder, write_images, write_rows
    from ganvae_core.views.pictures import draw_samples

    if is_folder(output):
        write_images(output, visible(made, run.spec))
    elif output.suffix.lower() == ".png":
        real = None if run.spec.modality == "image" else _real(run, PLOTTED)
        draw_samples(visible(made, run.spec), real, run.spec, output, headings=headings,
                     labels=labels_of(given, run.spec))  # fmt: skip
    else:
        conditions = _conditions(run, given, table=output.suffix.lower() in TABLES)
        write_rows(output, in_own_units(made.numpy(), run.spec.units), run.spec, conditions)


def _conditions(run: Run, given: Tensor | None, *, table: bool) -> dict[str, np.ndarray]:
    """What samples were made for, as it is written beside them: the labels by name, or the numbers."""
    import numpy as np

    from ganvae_core.runs.observers import labels_of

    if given is None:
        return {}
    labels = labels_of(given, run.spec)
    if labels is not None:
        column = run.configuration.components["data"].options.get("label") or "label"
        return {column if table else "labels": np.asarray(run.spec.classes)[labels]}
    numbers = given.numpy()
    if not table:
        return {"conditions": numbers}
    return {f"condition_{place}": column for place, column in enumerate(numbers.reshape(len(numbers), -1).T)}


def _real(run: Run, count: int) -> np.ndarray | None:
    """Rows to draw samples over, where the run's data is still to be had."""
    from ganvae_core.errors import RunError
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.runs.observers import visible

    try:
        split = run.open_data()
    except (DataError, RunError) as error:
        note(f"note: drawn without the real data: {error.message}")
        return None
    return visible(run.rows(split, evenly(split.training, count))[0], run.spec)


def _reconstructed(run: Run, split: Split, indices: np.ndarray) -> tuple[Tensor, Tensor]:
    import torch

    originals: list[Tensor] = []
    made: list[Tensor] = []
    with torch.no_grad():
        for part in _chunks(indices):
            x, condition = run.rows(split, part)
            originals.append(x.cpu())
            made.append(run.model.reconstruct(x, condition).cpu())
    return torch.cat(originals), torch.cat(made)


def _write_reconstructions(
    run: Run, original: Tensor, made: Tensor, indices: np.ndarray, output: Path
) -> None:
    from ganvae_core.data.codec import in_own_units
    from ganvae_core.runs.observers import visible
    from ganvae_core.views.files import write_arrays, write_rows
    from ganvae_core.views.pictures import draw_reconstructions

    if output.suffix.lower() == ".png":
        draw_reconstructions(visible(original, run.spec), visible(made, run.spec), output)
        return
    rows = in_own_units(made.numpy(), run.spec.units)
    if output.suffix.lower() == ".npz":
        before = in_own_units(original.numpy(), run.spec.units)
        write_arrays(output, {"originals": before, "reconstructions": rows, "rows": indices})
    else:
        write_rows(output, rows, run.spec, {"row": indices})


def _codes(run: Run, split: Split, indices: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        x, condition = run.rows(split, indices)
        return run.model.encode(x, condition).mean.cpu().numpy()


def _chunks(indices: np.ndarray) -> list[np.ndarray]:
    from ganvae_core.evaluation.sampling import CHUNK

    return [indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)]
