"""``ganvae score``: how likely each row of data is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.model_verbs import CHECKPOINT, DATA, DEVICE, OUTPUT, OVERRIDES, RUN, load
from ganvae_core.cli.output import counted, note, said_if_slow, warnings_as_notes
from ganvae_core.errors import ConfigurationError
from ganvae_latent.giving import SEED, need_encoder

if TYPE_CHECKING:
    from ganvae_core.data.split import Split
    from ganvae_core.model import Model
    from ganvae_core.runs.loading import Run

ROWS_AT_ONCE = 256
VALUES_AT_ONCE = 2**21
"""Of x, that a generator makes at once."""
DENSITY, RECONSTRUCTION = "density", "reconstruction"


@click.command()
@RUN
@OVERRIDES
@DATA
@click.option("--by", type=click.Choice(["auto", DENSITY, RECONSTRUCTION]), default="auto", metavar="S",
              help="density (log p(x)), reconstruction (log p(x) given the code), or auto.")  # fmt: skip
@click.option(
    "--draws", type=WholeNumber(min=1), default=20, metavar="N", help="Of the posterior, for a density."
)
@SEED
@CHECKPOINT
@DEVICE
@OUTPUT
def score(
    path: Path,
    overrides: tuple[str, ...],
    data: str | None,
    by: str,
    draws: int,
    seed: int,
    checkpoint: str | None,
    device: str,
    output: Path | None,
) -> None:
    """Score rows: the lower, the less they are like what the model learned.

    A density is a lower bound of log p(x) in nats, by importance weights of several draws (Burda et al. 2016). A
    reconstruction is log p(x) given the posterior's mean, or minus the mean squared error of x where the observation
    has no likelihood. auto is the density where the model has one that costs no integration.

    FILE is a .csv, .parquet or .npz with the number of each row, its score, whether it was held out, and its label
    where there is any. Where there are two labels, the area under the curve by which low scores find the rarer one is
    printed. KEY=VALUE says how data is read, as with ganvae run.

    \b
    ganvae score runs/vae-parts-1 -o scores.csv
    ganvae score runs/vae-parts-1 --data new.csv --by reconstruction
    """
    from ganvae_core.views.files import check_output

    run, options = load(path, checkpoint, device, overrides)
    need_encoder(run)
    output = output or path / "scores.csv"
    check_output(output, "scores", (".csv", ".parquet", ".npz"))
    if by == DENSITY and not _has_density(run.model):
        raise ConfigurationError(
            "this model has no density of rows that can be computed for each of them.",
            "take  --by reconstruction",
        )
    if by == "auto":
        by = DENSITY if _has_density(run.model) else RECONSTRUCTION
    with said_if_slow("reading and scoring the data"), warnings_as_notes():
        split = run.open_data(data, options)
        scores = _scores(run, split, by, draws, seed)
    _write(output, split, scores)
    likely = run.model.observation.has_likelihood
    unit = (
        "log p(x) in nats"
        if by == DENSITY
        else "log p(x | code) in nats"
        if likely
        else "minus the squared error"
    )
    note(
        f"{counted(len(scores), 'score')} by {path} at step {run.step:,}: {unit}, median {np.median(scores):.4g}"
    )
    _note_labels(split, scores)
    click.echo(str(output))


def _has_density(model: Model) -> bool:
    """Whether there is a bound of log p(x) that costs no integration."""
    from ganvae_core.evaluation.sampling import can_sample
    from ganvae_core.interfaces import MatchedPrior

    stochastic = model.encoder is not None and not model.encoder.deterministic
    priced = isinstance(model.prior, MatchedPrior) or not can_sample(model)
    return stochastic and model.observation.has_likelihood and not priced


def _scores(run: Run, split: Split, by: str, draws: int, seed: int) -> np.ndarray:
    """(N,) of all rows."""
    import torch

    from ganvae_core.data.randomness import borrowed_randomness

    model, found = run.model, list[np.ndarray]()
    rows_at_once = max(1, VALUES_AT_ONCE // math.prod(run.spec.shape))
    with torch.no_grad(), run.computing(), borrowed_randomness(run.device) as generator:
        generator.manual_seed(seed)
        for start in range(0, len(split.source), ROWS_AT_ONCE):
            batch = run.batch(split, np.arange(start, min(start + ROWS_AT_ONCE, len(split.source))))
            if by == DENSITY:
                values = model.log_likelihood_bound(
                    batch.x, batch.condition, samples=draws, mask=batch.mask, rows_at_once=rows_at_once
                )
            else:
                observed = model.decode(model.encode(batch.x, batch.condition).mean, batch.condition)
                if model.observation.has_likelihood:
                    values = observed.log_prob(batch.x, batch.mask)
                else:
                    known = torch.ones_like(batch.x) if batch.mask is None else batch.mask.to(batch.x)
                    apart = (observed.mean - batch.x).square() * known
                    values = -apart.flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
            found.append(values.double().cpu().numpy())
    return np.concatenate(found)


def _labels(split: Split) -> np.ndarray | None:
    spec = split.source.spec
    return np.asarray(split.source.labels()) if spec.classes else None


def _write(path: Path, split: Split, scores: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from ganvae_core.store.files import whole_path
    from ganvae_core.views.files import ending_of
    from ganvae_core.views.showing import write_arrays

    columns: dict[str, Any] = {"row": np.arange(len(scores)), "score": scores}
    if len(split.held_out):
        columns["held_out"] = np.isin(columns["row"], split.held_out[:])
    if (labels := _labels(split)) is not None:
        columns["label"] = split.source.spec.class_values()[labels]
    ending = ending_of(path)
    if ending == ".npz":
        write_arrays(
            path, {f"{name}s" if name != "held_out" else name: values for name, values in columns.items()}
        )
        return
    with whole_path(path) as draft:
        if ending == ".parquet":
            pyarrow.parquet.write_table(pa.table(columns), draft)
        else:
            pyarrow.csv.write_csv(pa.table(columns), draft)


def _note_labels(split: Split, scores: np.ndarray) -> None:
    """Say how well low scores find the rarer of two labels."""
    from sklearn.metrics import roc_auc_score

    labels, classes = _labels(split), split.source.spec.classes or ()
    if labels is None or len(classes) != 2:
        return
    rarer = int(np.bincount(labels, minlength=2).argmin())
    chosen = split.held_out[:] if len(split.held_out) else np.arange(len(scores))
    if len(set(labels[chosen])) == 2:
        area = roc_auc_score(labels[chosen] == rarer, -scores[chosen])
        rows = counted(len(chosen), "held-out row" if len(split.held_out) else "row")
        note(
            f"low scores find the label {classes[rarer]} with an area under the curve of {area:.3f}, on {rows}"
        )
