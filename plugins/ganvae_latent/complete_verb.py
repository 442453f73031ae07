"""``ganvae complete``: missing entries of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.output import counted, note, said_if_slow, table
from ganvae_core.cli.request import open_data
from ganvae_core.errors import ConfigurationError
from ganvae_latent.giving import FILES, RESIZE, ROWS, Chosen, Request, requested

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.runs.loading import Run
    from ganvae_core.types import Batch

AsRead = Callable[[np.ndarray, np.ndarray], np.ndarray]

HELD_OUT = 8
"""Held-out rows that are completed by default."""
LOOKED_AT = 2_000
"""Held-out rows among which those with missing cells are looked for."""
COMPARED_ROWS = 2_000
"""Training rows that the mean and the nearest rows are taken from, which completions are compared with."""
SHOWN_DRAWS = 5
"""Columns of completions in a picture."""
ENOUGH_DRAWS = 20
"""Draws of a row from which on its 5th and 95th percentiles mean something."""


@click.command()
@click.option("--mask", metavar="M", help="What is hidden: box:x,y,w,h, random:0.5, columns:a,b, span:start,length (in"
              " times, characters or seconds), or a picture whose white pixels are; by default the missing cells of the"
              " data.")  # fmt: skip
@click.option("-n", "--count", type=WholeNumber(min=1), metavar="N",
              help="Held-out rows, 8 by default; of rows that are given the first ones, all by default.")  # fmt: skip
@click.option("--draws", type=WholeNumber(min=1), default=50, metavar="N", help="Completions of each row.")
@click.option("--method", type=click.Choice(["auto", "exact", "conditional", "optimise"]), metavar="M",
              default="auto", help="exact (linear models), conditional (VAEs), optimise (any), or auto.")  # fmt: skip
@click.option(
    "--steps", type=WholeNumber(min=1), default=100, metavar="N", help="Of the chain or the optimisation."
)
@click.option("--noise/--mean", default=None,
              help="Draws from the observation (by default of tables and points), or its means.")  # fmt: skip
@requested(FILES, ROWS, RESIZE)
def complete(
    request: Request,
    mask: str | None,
    count: int | None,
    draws: int,
    method: Any,
    steps: int,
    noise: bool | None,
) -> None:
    """Fill in missing pixels, cells or spans: several completions of each row, with their error where it can be known.

    ``--mask span:24,12`` hides twelve times of a series from the 25th on.

    A picture, or a file of series, texts or sounds, has the row, what is visible of it, five completions, and, but for
    texts, the mean of all. Tables are written with the mean of the completions, and how far these spread: the standard
    deviation of numbers, of dates in days or hours, and the share of the completions that differ from the most frequent
    category. ``row`` is the number of the row in the data or the file, from 0. Columns that the model has not learned,
    such as identifiers, are not written: join them by that number.

    Errors stand beside those of the training rows' mean and of the five nearest training rows, in standard deviations
    of a table's column, and in units of x otherwise.

    \b
    ganvae complete runs/vae-digits-1 --mask box:0,4,8,4 -o halves.png
    ganvae complete runs/vae-wine-1 --mask random:0.2 -n 100 -o filled.csv
    """
    import torch

    from ganvae_core import latent
    from ganvae_core.data.randomness import seeded
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.interfaces import SequentialData
    from ganvae_core.views.showing import shown_rows
    from ganvae_latent.judging import entries_of
    from ganvae_latent.masks import read_mask, there
    from ganvae_latent.showing import output_for

    run, seed = request.run, request.seed
    output = output_for(request, "completions")
    wanted = count or HELD_OUT
    chosen = request.chosen(held_out=wanted if mask is not None else LOOKED_AT)
    if count is not None and request.names_rows:
        chosen = _first(chosen, count)
    if mask is None and not request.names_rows:  # rows with gaps, where there are any
        ((split, indices, _),) = chosen
        looked_at = run.batch(split, indices)
        gaps = (~there(looked_at.x, looked_at.mask, run.spec)).flatten(1).any(1).cpu().numpy()
        chosen = [Chosen(split, evenly(indices[gaps] if gaps.any() else indices, wanted))]
    batch = request.batch(chosen)
    known = visible = there(batch.x, batch.mask, run.spec)
    if mask is not None:
        visible = known & torch.as_tensor(
            read_mask(mask, run.spec, run.view, len(batch.x), seed), device=run.device
        )
    is_whole = mask is None and not run.view.quantities  # nothing is missing after the end of a text
    if is_whole or bool(visible.all()):
        raise ConfigurationError("nothing is missing in these rows.", "hide something:  --mask random:0.5")
    wants_mean, noise = noise is False, run.model.shown == "draw" if noise is None else noise
    with said_if_slow("completing rows"), seeded(run.device, seed):
        one = None if batch.condition is None else batch.condition[:1]
        code = torch.zeros(1, *run.model.prior.latent_shape, device=run.device)
        if isinstance(run.model.decode(code, one), SequentialData):
            if wants_mean:
                raise ConfigurationError("--mean: each entry is drawn given those before it; leave it out.")
            noise = True
        made, z = latent.complete(
            run.model, batch.x, visible, batch.condition, draws=draws, steps=steps, method=method, noise=noise
        )
    as_read = _as_read(run, chosen)
    shown = np.zeros(0)
    if run.view.as_grid:
        _show_grid(run, output, batch, made, known, visible, as_read)
    else:
        shown = np.stack([shown_rows(each, run.spec, run.view) for each in made])
        _show_table(run, output, batch, shown, visible, as_read)
    hidden = known & ~visible  # whose truth is known
    if bool(hidden.any()) and not run.view.quantities:
        _report_tokens(run, batch.x, visible, hidden, made)
    elif bool(hidden.any()):
        entries = shown if run.spec.fields else np.stack([entries_of(run, each) for each in made])
        with seeded(run.device, seed):
            again = (
                None if noise else partial(latent.drawn_at, run.model, z, batch.x, visible, batch.condition)
            )
            _report(run, batch.x, visible, hidden, entries, again)
    request.written(output, f"{counted(draws, 'completion')} of {counted(len(batch.x), 'row')}")


def _first(chosen: Sequence[Chosen], count: int) -> list[Chosen]:
    """The first rows of those that are given."""
    found: list[Chosen] = []
    for each in chosen:
        if count > 0:
            found.append(each._replace(indices=each.indices[:count]))
            count -= len(each.indices)
    return found


def _as_read(run: Run, chosen: Sequence[Chosen]) -> AsRead:
    """A function of rows and what is visible of them, which stays as it was read: samples are rounded and clipped.

    Pictures that may have been scaled, and data in other units than the run's, stay as they are.
    """
    from ganvae_core.runs.fitting import fitting_units

    specs = [each.split.source.spec for each in chosen]
    same_units = bool(run.spec.fields) or all(
        fitting_units(spec, run.spec) == run.spec.units for spec in specs
    )
    if not same_units or any(each.is_picture for each in chosen):
        return lambda rows, seen: rows
    own = np.concatenate([each.split.source.rows(each.indices).x for each in chosen])
    return lambda rows, seen: np.where(seen, own, rows)


def _show_grid(
    run: Run, output: Path, batch: Batch, made: Tensor, known: Tensor, visible: Tensor, as_read: AsRead
) -> None:
    """Each row, what is visible of it, some completions, and their mean where values are quantities."""
    from ganvae_core.types import Drawing
    from ganvae_core.views.showing import show, shown_rows, with_gaps

    named = {"row": batch.x, "visible": batch.x}
    named |= {str(number): each for number, each in enumerate(made[:SHOWN_DRAWS], 1)}
    if len(made) > 1 and run.view.quantities:
        named["mean"] = made.mean(0)
    there_are, seen = known.cpu().numpy(), visible.cpu().numpy()
    parts = [as_read(shown_rows(x, run.spec, run.view), seen) for x in named.values()]
    parts[0] = with_gaps(as_read(parts[0], there_are), there_are, run.view)
    parts[1] = hidden_rows(parts[1], visible if run.view.gaps else visible | ~known, run, output)
    rows = np.stack(parts, 1).reshape(-1, *parts[0].shape[1:])
    further = {
        "row": np.repeat(batch.index.cpu().numpy(), len(parts)),
        "version": np.tile([*named], len(batch.x)),
    }
    show(
        run.view,
        Drawing(rows, "completions", columns=len(parts), headings=[*named]),
        run.spec,
        output,
        further,
    )


def _show_table(
    run: Run, output: Path, batch: Batch, shown: np.ndarray, visible: Tensor, as_read: AsRead
) -> None:
    """The mean of completions (S, B, D) with their spread."""
    from ganvae_core.cli.model_verbs import conditions_of
    from ganvae_core.types import Drawing
    from ganvae_core.views.showing import show
    from ganvae_latent.judging import columns_of_spread, middle_of, of_entries, spread_of

    further = {"row": batch.index.cpu().numpy(), **conditions_of(run, batch.condition, output)}
    further |= columns_of_spread(spread_of(shown, run.spec), run.spec)
    middle = middle_of(shown, run.spec)
    middle = as_read(middle, of_entries(visible, run.spec).reshape(middle.shape))
    show(run.view, Drawing(middle, "completions"), run.spec, output, further)
    if run.spec.fields and (left := int(np.isnan(middle).sum())):
        note(f"{counted(left, 'cell')} left missing, as all completions are")


def hidden_rows(rows: np.ndarray, visible: Tensor, run: Run, output: Path) -> np.ndarray:
    """Rows in the data's own units with what the view has in place of hidden values; arrays have 0 for a pattern."""
    from ganvae_core.views.files import ARRAYS, ending_of

    stands = np.asarray(run.view.hidden(run.spec), rows.dtype)
    is_pattern = stands.ndim and ending_of(output) in ARRAYS
    return np.where(visible.cpu().numpy(), rows, np.zeros_like(stands) if is_pattern else stands)


def _report_tokens(run: Run, x: Tensor, visible: Tensor, hidden: Tensor, made: Tensor) -> None:
    """Shares of hidden tokens that differ, by completions (draws, B, *X) and by simpler ways to fill them in."""
    from ganvae_core.evaluation.sampling import evenly

    split = open_data(run)
    training = run.batch(split, evenly(split.training, COMPARED_ROWS)).x
    ways = {"most frequent in the completions": made.mode(0).values, "one completion": made[0],
            "most frequent in the five nearest training rows": _most_alike(x, visible, training),
            "most frequent in training rows": training.mode(0).values.expand_as(x)}  # fmt: skip
    table([[name, f"{(way != x)[hidden].float().mean().item():.4f}"] for name, way in ways.items()],
          ["way", "share of hidden entries that differ"])  # fmt: skip


def _report(
    run: Run,
    x: Tensor,
    visible: Tensor,
    hidden: Tensor,
    draws: np.ndarray,
    draw: Callable[[], Tensor] | None,
) -> None:
    """Errors of hidden entries, beside those of simpler ways to fill them in, and what draws cover of them.

    Args:
        run: that completed them.
        x: (B, *X) the rows.
        visible: (B, *X) bool.
        hidden: (B, *X) bool, whose truth is known.
        draws: (S, B, D) the entries of completions.
        draw: gives completions as draws, where those are means.
    """
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_latent.judging import (
        centre_of,
        covered,
        entries_of,
        errors,
        expected_cover,
        kinds_of,
        middle_of,
        nearest_rows,
        of_entries,
    )

    split = open_data(run)
    batch = run.batch(split, evenly(split.training, COMPARED_ROWS))
    training, truth = entries_of(run, batch.x), entries_of(run, x)
    if batch.mask is not None:
        training = np.where(of_entries(batch.mask, run.spec), training, np.nan)
    entries = kinds_of(training, run.spec)
    seen, judged = of_entries(visible, run.spec), of_entries(hidden, run.spec)
    centre = centre_of(training[:, None], entries)
    filled = {"mean of the completions": middle_of(draws, run.spec), "one completion": draws[0],
            "five nearest training rows": nearest_rows(training, np.where(seen, truth, np.nan), entries),
            "mean of training rows": centre.repeat(len(truth), 0)}  # fmt: skip
    found = {name: errors(way, truth, judged, entries) for name, way in filled.items()}
    there_are = (judged & entries.are_numbers).any(), (judged & ~entries.are_numbers).any()
    kinds = [kind for kind, there in enumerate(there_are) if there]
    titles = ("error of hidden entries" if not run.spec.fields else "error of numbers", "wrong categories")
    table([[name, *(f"{found[name][kind]:.4f}" for kind in kinds)] for name in found],
          ["way", *(titles[kind] for kind in kinds)])  # fmt: skip
    gaps = np.isnan(draws)[:, judged]
    if gaps.any():
        note(f"{gaps.mean():.0%} of the completions are gaps, as the data has; they are left out")
    if len(draws) < ENOUGH_DRAWS or not run.model.observation.has_likelihood:
        return
    if draw is not None:
        draws = np.stack([entries_of(run, each) for each in draw()])
    shares = covered(draws, truth, judged, entries)
    if 0 in kinds:
        note(
            f"the 5th to the 95th percentile of draws covers {shares[0]:.0%} of the hidden numbers;"
            f" {expected_cover(len(draws)):.0%} where the model is right"
        )
    if 1 in kinds:
        note(f"the categories of nine in ten draws cover {shares[1]:.0%} of the hidden ones")


def _most_alike(x: Tensor, visible: Tensor, training: Tensor) -> Tensor:
    """(B, *X) the most frequent values in the training rows that equal each row in most of what is visible of it."""
    import torch

    from ganvae_latent.judging import NEIGHBOURS

    found: list[Tensor] = []
    for row, seen in zip(x, visible, strict=True):
        alike = (training == row)[:, seen].sum(1)
        found.append(training[alike.topk(min(NEIGHBOURS, len(training))).indices].mode(0).values)
    return torch.stack(found)
