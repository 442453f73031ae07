"""``ganvae score``: how unusual rows are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.output import counted, four_digits, note, percent, said_if_slow, table, warnings_as_notes
from ganvae_core.cli.request import OVERRIDES
from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_latent.giving import Request, requested

if TYPE_CHECKING:
    from ganvae_core.runs.loading import Run

METHODS = ("likelihood", "reconstruction", "inversion")
PRINTED = 5
DRAWN = 32
RARE = 0.01
"""Of held-out rows, the share that is called unusual in what is printed."""


@click.command()
@click.option("--method", type=click.Choice(METHODS), metavar="M",
              help="likelihood (in nats), reconstruction or inversion (mean squared errors); by default the first that"
              " the model has.")  # fmt: skip
@click.option(
    "-n", "--count", type=WholeNumber(min=1), metavar="N", help="Rows, evenly spread; by default all."
)
@click.option(
    "--draws", type=WholeNumber(min=1), default=50, metavar="N", help="Of the bound of a likelihood."
)
@requested(OVERRIDES)
def score(
    request: Request,
    method: Any,
    count: int | None,
    draws: int,
) -> None:
    """Score how unusual rows are to a model: anomalies first.

    FILE is a .csv, .tsv, .parquet or .feather with a line for each row, in the order of the data: its number, its
    score, the share of the run's held-out rows that score as high or higher, whether it is one of these, and its label
    where there is one. A small share is an anomaly. FILE.png draws the 32 rows with the highest scores. Where the data
    has two labels, the area under the ROC curve says how well high scores find the rarer one. Inversion takes long:
    -n 500 scores so many rows, and as many held-out ones. KEY=VALUE says how data is read, as with ganvae run.

    \b
    ganvae score runs/vae-wine-1 --data new.csv -o scores.csv
    ganvae score runs/vae-digits-1 -o unusual.png
    """
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.latent.scores import scorings_of
    from ganvae_core.types import Drawing
    from ganvae_core.views.files import ending_of
    from ganvae_core.views.showing import show, shown_rows
    from ganvae_core.views.table import TABLES

    run, seed = request.run, request.seed
    output = request.output_for(
        "scores", "scores.csv", (*TABLES, *([".png"] if ".png" in run.view.endings else []))
    )
    drawn = ending_of(output) == ".png"
    how = method or scorings_of(run.model)[0]
    if how != "likelihood" and not run.view.quantities:
        raise ConfigurationError(
            f"--method {how}: it compares numbers, and {run.view.noun} have none.",
            "take  --method likelihood",
        )
    with said_if_slow("scoring rows"), warnings_as_notes():
        split = request.open_data()
        indices = evenly(np.arange(len(split.source)), count or len(split.source))
        condition = request.condition(len(indices))
        scores = run.scores(split, indices, method=how, draws=draws, seed=seed, condition=condition)
        held_out = np.isin(indices, split.held_out[:])
        usual, of = scores[held_out], "held-out row"
        if count is not None or not held_out.any():
            usual, of = _usual(run, count, how, draws, seed)
        # A conformal p-value (Bates et al. 2023): of rows of the usual kind, few have a small one.
        above = len(usual) - np.searchsorted(np.sort(usual), scores)
        shares = (1 + above) / (1 + len(usual))
        shown = {"share": shares} if len(usual) else {}
        spec = split.source.spec
        numbers = np.asarray(split.source.labels(indices)) if spec.classes else None
        labels = {} if numbers is None else {"label": spec.class_values()[numbers]}
        order = np.argsort(-scores, kind="stable")
        if drawn:
            rows = shown_rows(run.batch(split, indices[order[:DRAWN]]).x, run.spec, run.view)
            show(run.view, Drawing(rows), run.spec, output, {})
        else:
            is_held_out = {"held_out": held_out} if held_out.any() else {}
            _write(output, {"row": indices, "score": scores} | shown | is_held_out | labels)
    table(
        [[indices[at], four_digits(float(scores[at])), *(percent(float(share[at])) for share in shown.values()),
          *(values[at] for values in labels.values())] for at in order[:PRINTED]],
        ["row", "score", *(f"{of}s as high" for _ in shown), *labels],
    )  # fmt: skip
    unit = "-log p(x), nats" if how == "likelihood" else "mean squared error"
    note(f"{counted(len(scores), 'row')} scored by {how} ({unit}), {run.path} at step {run.step:,}")
    if shown:
        least = 1 / (1 + len(usual))
        most = "all" if least > RARE else "99 % of"
        rare = 100 * np.mean(shares <= max(RARE, least))
        note(f"{rare:.1f} % score above {most} {counted(len(usual), of)}")
    chosen = held_out if held_out.any() else np.ones(len(scores), dtype=bool)
    if numbers is not None and len(spec.classes or ()) == 2:
        _note_area(
            spec.class_values(), numbers[chosen], scores[chosen], "held-out row" if held_out.any() else "row"
        )
    click.echo(str(output))


def _usual(run: Run, count: int | None, how: Any, draws: int, seed: int) -> tuple[np.ndarray, str]:
    """Scores of rows of the run's own data that it has not learned from, if there are such, and what they are.

    There are none where that data cannot be read.
    """
    from ganvae_core.evaluation.sampling import evenly

    try:
        own = run.open_data()
    except GanvaeError as error:
        note(f"note: scores stand alone, without shares of the run's held-out rows: {error.message}")
        return np.zeros(0), ""
    rows, of = (own.held_out, "held-out row") if len(own.held_out) else (own.training, "training row")
    return run.scores(own, evenly(rows, count or len(rows)), method=how, draws=draws, seed=seed), of


def _note_area(names: np.ndarray, labels: np.ndarray, scores: np.ndarray, of: str) -> None:
    """Say how well scores (N,) find the rarer of two labels (N,), by the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    counts = np.bincount(labels, minlength=2)
    if not counts.all() or not np.isfinite(scores).all():
        return
    rarer = int(counts.argmin())
    area = float(roc_auc_score(labels == rarer, scores))
    note(
        f"high scores find label {names[rarer]} with an area under the ROC curve of {area:.3f}, on"
        f" {counted(len(scores), of)}"
    )


def _write(output: Path, columns: dict[str, np.ndarray]) -> None:
    import pyarrow as pa

    from ganvae_core.store.files import whole_path
    from ganvae_core.views.table import write_arrow

    with whole_path(output) as draft:
        write_arrow(pa.table(columns), draft)
