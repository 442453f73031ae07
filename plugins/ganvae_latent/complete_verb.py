"""``ganvae complete``: missing entries of rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.model_verbs import CHECKPOINT, DATA, DEVICE, OUTPUT, RUN
from ganvae_core.cli.output import counted, note, said_if_slow, table
from ganvae_core.errors import ConfigurationError
from ganvae_latent.giving import (
    CONDITION,
    FILES,
    RESIZE,
    ROWS,
    SEED,
    load_run,
    open_data,
    refuse_output,
    usual_ending,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.runs.loading import Run
    from ganvae_core.types import DataSpec

COMPARED_ROWS = 2_000
"""Training rows that the mean and the nearest rows are taken from, which completions are compared with."""
COVERING = (0.05, 0.95)
SHOWN_DRAWS = 5
"""Columns of completions in a picture."""
NEAREST = 5
ENOUGH_DRAWS = 20
"""Draws of a row from which on its 5th and 95th percentiles mean something."""


@click.command()
@RUN
@FILES
@DATA
@ROWS
@RESIZE
@click.option("--mask", metavar="M", help="What is hidden: box:x,y,w,h, random:0.5, columns:a,b, span:start,length (in"
              " times, characters or seconds), or a picture whose white pixels are; by default the missing cells of the"
              " data.")  # fmt: skip
@click.option("-n", "--count", type=WholeNumber(min=1), default=8, metavar="N", help="Held-out rows.")
@click.option("--draws", type=WholeNumber(min=1), default=50, metavar="N", help="Completions of each row.")
@click.option("--method", type=click.Choice(["auto", "exact", "conditional", "optimise"]), metavar="M",
              default="auto", help="exact (linear models), conditional (VAEs), optimise (any), or auto.")  # fmt: skip
@click.option(
    "--steps", type=WholeNumber(min=1), default=100, metavar="N", help="Of the chain or the optimisation."
)
@SEED
@CONDITION
@CHECKPOINT
@DEVICE
@OUTPUT
def complete(
    path: Path,
    files: tuple[Path, ...],
    data: str | None,
    rows: str | None,
    resize: bool,
    mask: str | None,
    count: int,
    draws: int,
    method: Any,
    steps: int,
    seed: int,
    condition: str | None,
    checkpoint: str | None,
    device: str,
    output: Path | None,
) -> None:
    """Fill in missing pixels, cells or spans: several completions of each row, with their error where it can be known.

    A picture, or a file of series, texts or sounds, has the row, what is visible of it, five completions, and, but for
    texts, the mean of all. Tables are written with the mean of the completions, and how far these spread: the standard
    deviation of numbers, and the share of the completions that differ from the most frequent category. Errors stand
    beside those of the training rows' mean and of the five nearest training rows.

    \b
    ganvae complete runs/vae-digits-1 --mask box:0,4,8,4 -o halves.png
    ganvae complete runs/vae-wine-1 --mask random:0.2 -n 100 -o filled.csv
    ganvae complete runs/series-vae-tides-1 --mask span:24,12 -o gaps.png
    """
    import torch

    from ganvae_core import latent
    from ganvae_core.data.randomness import borrowed_randomness
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.types import Drawing
    from ganvae_core.views.showing import show, shown_rows
    from ganvae_core.views.table import column_names
    from ganvae_latent.giving import rows_of
    from ganvae_latent.masks import read_mask
    from ganvae_latent.showing import endings, write

    run = load_run(path, checkpoint, device)
    output = output or path / f"completions/seed-{seed}{usual_ending(run.view)}"
    refuse_output(run, output, "completions", data, endings(run))
    if files or rows is not None:
        batch = rows_of(run, files, data, rows, condition, resize)
    else:
        split = open_data(run, data)
        batch = run.batch(split, evenly(split.held_out if len(split.held_out) else split.training, count))
    known = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
    visible = known
    if mask is not None:
        visible = known & torch.as_tensor(
            read_mask(mask, run.spec, run.view, len(batch.x), seed), device=run.device
        )
    if bool(visible.all()):
        raise ConfigurationError("nothing is missing in these rows.", "hide something:  --mask random:0.5")
    with said_if_slow("completing rows"), borrowed_randomness(run.device) as generator:
        generator.manual_seed(seed)
        made = latent.complete(
            run.model, batch.x, visible, batch.condition, draws=draws, steps=steps,
            method=method, noise=run.model.shown == "draw",
        )  # fmt: skip
    mean = made.mean(0)
    if run.view.as_grid:
        named = {"row": batch.x, "visible": batch.x}
        named |= {str(number): each for number, each in enumerate(made[:SHOWN_DRAWS], 1)}
        if draws > 1 and run.view.quantities:
            named["mean"] = mean
        parts = [
            shown_rows(x, run.spec, run.view, known if name == "row" else None) for name, x in named.items()
        ]
        parts[1] = hidden_rows(parts[1], visible, run)
        rows_shown = np.stack(parts, 1).reshape(-1, *parts[0].shape[1:])
        further = {"row": np.repeat(np.arange(len(mean)), len(parts)), "what": np.tile([*named], len(mean))}
        drawing = Drawing(rows_shown, "completions", columns=len(parts), headings=[*named])
        show(run.view, drawing, run.spec, output, further)
    else:
        draws_shown = np.stack([shown_rows(each, run.spec, run.view) for each in made])
        spread = zip(column_names(run.spec), spread_of(draws_shown, run.spec).T, strict=True)
        write(run, mean, output, further={f"spread_{name}": values for name, values in spread})
    hidden = known & ~visible  # whose truth is known
    if bool(hidden.any()):
        _report(run, batch.x, visible, hidden, made)
    note(f"{counted(draws, 'completion')} of {counted(len(batch.x), 'row')} by {path} at step {run.step:,}")
    click.echo(str(output))


def hidden_rows(rows: np.ndarray, visible: Tensor, run: Run) -> np.ndarray:
    """Rows in the data's own units with what the view has in place of hidden values."""
    import torch

    from ganvae_core.views.showing import shown_rows

    stands = run.view.hidden(run.spec)
    if stands is None:
        lowest = torch.full((1, *run.spec.shape), run.spec.range[0] if run.spec.range else 0.0)
        return np.where(visible.cpu().numpy(), rows, shown_rows(lowest, run.spec, run.view))
    return np.where(visible.cpu().numpy(), rows, np.asarray(stands, rows.dtype))


def spread_of(draws: np.ndarray, spec: DataSpec) -> np.ndarray:
    """(draws, N, columns) completions in the data's own units -> (N, columns) how far they spread."""
    apart = np.ma.masked_invalid(draws - np.nan_to_num(draws[0]))  # exactly 0 where all completions agree
    spread = apart.std(0, ddof=min(1, len(draws) - 1)).filled(0.0)
    for column, field in enumerate(spec.fields or ()):
        if field.categories:
            kinds = np.nan_to_num(draws[:, :, column], nan=-1.0)
            counts = np.stack([(kinds == kind).sum(0) for kind in np.unique(kinds)])
            spread[:, column] = 1 - counts.max(0) / len(draws)
    return spread


def _report(run: Run, x: Tensor, visible: Tensor, hidden: Tensor, made: Tensor) -> None:
    """Errors of hidden entries, beside those of simpler ways to fill them in."""
    import torch
    from sklearn.impute import KNNImputer

    from ganvae_core.evaluation.sampling import evenly

    split = open_data(run)
    chosen = evenly(split.training, COMPARED_ROWS)
    training = run.batch(split, chosen)
    if not run.view.quantities:
        ways = {"most frequent in the completions": made.mode(0).values, "one completion": made[0],
                "most frequent in the five nearest training rows": _most_alike(x, visible, training.x),
                "most frequent in training rows": training.x.mode(0).values.expand_as(x)}  # fmt: skip
        table([[name, f"{(way != x)[hidden].float().mean().item():.4f}"] for name, way in ways.items()],
              ["way", "share of hidden entries that differ"])  # fmt: skip
        return
    seen = training.x if training.mask is None else training.x.where(training.mask, torch.nan)
    means = seen.nanmean(0).expand_as(x)
    holes = x.where(visible, torch.nan).flatten(1).double().cpu().numpy()
    imputer = KNNImputer(n_neighbors=NEAREST, keep_empty_features=True).fit(
        seen.flatten(1).double().cpu().numpy()
    )
    nearest = torch.as_tensor(np.asarray(imputer.transform(holes)), device=x.device).float().reshape(x.shape)
    ways = {"mean of the completions": made.mean(0), "one completion": made[0],
            "five nearest training rows": nearest, "mean of training rows": means}  # fmt: skip
    table([[name, f"{(way - x)[hidden].square().mean().sqrt().item():.4f}"] for name, way in ways.items()],
          ["way", "error of hidden entries"])  # fmt: skip
    if len(made) >= ENOUGH_DRAWS and run.model.shown == "draw":  # means leave out the noise of an entry
        low, high = (made.quantile(share, dim=0) for share in COVERING)
        inside = ((x >= low) & (x <= high))[hidden].float().mean().item()
        note(f"the 5th to the 95th percentile of the completions covers {inside:.0%} of the hidden entries")


def _most_alike(x: Tensor, visible: Tensor, training: Tensor) -> Tensor:
    """(B, *X) the most frequent values in the training rows that equal each row in most of what is visible of it."""
    import torch

    found: list[Tensor] = []
    for row, seen in zip(x, visible, strict=True):
        alike = (training == row)[:, seen].sum(1)
        found.append(training[alike.topk(min(NEAREST, len(training))).indices].mode(0).values)
    return torch.stack(found)
