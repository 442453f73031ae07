"""``ganvae directions``: find directions, and keep them by name."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.output import four_digits, note, said_if_slow, table
from ganvae_core.cli.request import open_data
from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_latent.features import classifier_of
from ganvae_latent.giving import Request, requested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ganvae_core.runs.loading import Run
    from ganvae_core.types import Field
    from ganvae_latent.giving import Given

DRAWS = 4_000
CODED_ROWS = 5_000
DIRECTIONS = 6
"""Of pca and sefa, where codes have as many numbers."""
AMOUNTS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Of the picture, in standard deviations of codes along the direction."""


@click.command()
@click.option("--by", type=click.Choice(["pca", "sefa", "label", "column"]), metavar="M",
              help="pca (of a layer or of codes), sefa (of first weights), label or column (supervised).")  # fmt: skip
@click.option(
    "-n",
    "--count",
    type=WholeNumber(min=1),
    metavar="N",
    help="Directions of pca and sefa; by default six at most.",
)
@click.option("--layer", metavar="L", help="A layer of the generator, for pca; by default the data's codes.")
@click.option(
    "--of",
    metavar="NAME",
    help="What a direction is found for: a label, or of a table a column, or COLUMN=CATEGORY.",
)
@click.option("--keep", multiple=True, metavar="NAME", help="A stored direction that is to stay as it is.")
@click.option("--name", metavar="NAME", help="To store it by; by default pca-1, sefa-1, … or what --of says.")
@requested()
def directions(
    request: Request,
    by: str | None,
    count: int,
    layer: str | None,
    of: str | None,
    keep: tuple[str, ...],
    name: str | None,
) -> None:
    """Find directions of the latent space, store them by name in the run, and draw what they do.

    Unsupervised ones are the principal components of the data's codes, or of the activations of a layer (pca,
    GANSpace; the first layer where there is no encoder), or of the generator's first weights (sefa). Supervised ones
    are found from the codes of the data: for a label, or for a column of a table. Without an encoder they are found
    from samples, whose labels a small classifier of the data finds (InterFaceGAN). Each line of the picture is a
    direction, from -3 to 3 standard deviations of codes along it. `edit` uses them.

    \b
    ganvae directions runs/vae-digits-1 --by pca -n 4
    ganvae directions runs/vae-digits-1 --by label --of 3 --name three
    """
    from ganvae_core.runs.directions import Direction, save_direction
    from ganvae_latent.showing import output_for, write

    run, data = request.run, request.data
    if name == "":
        raise ConfigurationError("--name: it is empty.")
    is_label = of in (run.source_spec.classes or ()) or not run.spec.columns
    by = by or ("pca" if of is None else "label" if is_label else "column")
    if of is not None and by in ("pca", "sefa"):
        raise ConfigurationError(
            f"--of names what a supervised direction is for, and {by} takes none.", "--by label"
        )
    name = name or (None if of is None else re.sub(r"[^\w.-]+", "-", of).strip("-"))
    output = output_for(request, "directions", name or by)
    given = request.samples(DRAWS)
    count = count or min(DIRECTIONS, given.z[0].numel())
    with said_if_slow("finding directions"):
        if by in ("label", "column"):
            found = _supervised(run, given, data, by, of, keep, name or by)
        elif by == "sefa":
            found = _closed_form(run, given, count, name or by)
        else:
            found = _principal(run, given, count, layer, data, name or by)
    spreads = [(found.codes.flatten(1) @ vector.flatten()).std().item() for vector in found.vectors]
    for label, vector, spread in zip(found.names, found.vectors, spreads, strict=True):
        save_direction(run, Direction(label, vector, spread, found.origin, run.step))
    lines, conditions = _lines(
        run, given, found.vectors, spreads
    )  # of the directions, or several of the only one
    count = len(lines) // len(AMOUNTS)
    names = found.names if len(found.names) > 1 else found.names * count
    further = {"direction": np.repeat(names, len(AMOUNTS)), "amount": np.tile(AMOUNTS, count)}
    headings = [f"{amount:+g}" if amount else "0" for amount in AMOUNTS]
    write(run, lines, output, headings=headings, condition=conditions, further=further)
    table(
        [[label, four_digits(float(score))] for label, score in zip(found.names, found.scores, strict=True)],
        ["name", found.measure],
    )
    note(f"stored in {run.path}/directions;  ganvae edit {run.path} --direction {found.names[0]}=2")
    click.echo(str(output))


class Found(NamedTuple):
    """Directions.

    Args:
        names: to store them by.
        vectors: (M, *Z).
        scores: (M,) of what ``measure`` says.
        measure: in words.
        origin: what they were found from, in words.
        codes: (N, *Z) whose spread along a direction is the unit of edits.
    """

    names: list[str]
    vectors: Tensor
    scores: Tensor
    measure: str
    origin: str
    codes: Tensor


def _lines(run: Run, given: Given, vectors: Tensor, spreads: Sequence[float]) -> tuple[Tensor, Tensor | None]:
    """(lines · amounts, *X): a sample that is moved along each direction, or six along the only one; conditions."""
    import torch

    from ganvae_core import latent

    pairs = (
        [(0, number) for number in range(len(vectors))]
        if len(vectors) > 1
        else [(row, 0) for row in range(6)]
    )
    codes: list[Tensor] = []
    for row, number in pairs:
        amounts = torch.tensor(AMOUNTS, device=given.z.device) * spreads[number]
        codes.append(latent.moved(given.z[[row] * len(AMOUNTS)], vectors[number], amounts))
    rows = np.repeat([row for row, _ in pairs], len(AMOUNTS))
    conditions = None if given.condition is None else given.condition[rows]
    with torch.no_grad():
        return run.model(torch.cat(codes), conditions), conditions


def _numbered(name: str, vectors: Tensor) -> list[str]:
    return [f"{name}-{number}" for number in range(1, len(vectors) + 1)]


def _closed_form(run: Run, given: Given, count: int, name: str) -> Found:
    from ganvae_core import latent

    vectors, stretch = latent.closed_form_directions(run.model, tuple(given.z.shape[1:]), count)
    return Found(_numbered(name, vectors), vectors.to(given.z), stretch, "stretch", "sefa", given.z)


def _principal(run: Run, given: Given, count: int, layer: str | None, data: str | None, name: str) -> Found:
    """Of a layer; without one of the data's codes, or of the first layer where nothing encodes."""
    from ganvae_core import latent
    from ganvae_core.latent.directions import first_layer

    if layer is None and run.model.encoder is not None:
        codes, condition, origin = _encoded(run, data), None, "pca of codes"
    else:
        layer = layer or first_layer(run.model)
        codes, condition, origin = given.z, given.condition, f"pca of {layer}"
    vectors, shares = latent.pca_directions(run.model, codes, count, layer=layer, condition=condition)
    return Found(_numbered(name, vectors), vectors, shares, "share of variance", origin, codes)


def _encoded(run: Run, data: str | None) -> Tensor:
    """(N, *Z) codes of the data."""
    import torch

    from ganvae_core.evaluation.sampling import evenly

    split = open_data(run, data)
    return torch.as_tensor(
        run.encode(split, evenly(np.arange(len(split.source)), CODED_ROWS)), device=run.device
    )


def _supervised(
    run: Run, given: Given, data: str | None, by: str, of: str | None, keep: tuple[str, ...], name: str
) -> Found:
    """The direction for a label, a column, or a category of a column; of samples where nothing encodes."""
    import torch

    from ganvae_core import latent
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.runs.directions import load_direction
    from ganvae_core.views.showing import shown_rows

    split = open_data(run, data)
    spec = split.source.spec
    indices = evenly(np.arange(len(split.source)), CODED_ROWS)
    made = None if run.model.encoder is not None else _made(run, given)
    if by == "label":
        known: tuple[str, ...] = spec.classes or ()
        what = "label"
        if not known:
            raise ConfigurationError(
                "this data has no labels.", "name a column of a table:  --by column --of NAME"
            )
    else:
        known, what = spec.columns or (), "column"
        if not known:
            raise ConfigurationError(
                "this is not a table with named columns.",
                "name a label:  --by label --of NAME" if spec.classes else "",
            )
    asked, category = of or "", ""
    if by == "column" and asked not in known:
        asked, _, category = asked.partition("=")
    if asked not in known:
        near = did_you_mean(asked, known)
        said = f"which {what}?  --of NAME" if of is None else f"--of: there is no {what} '{asked}'.{near}"
        raise ConfigurationError(said, f"{what}s: {', '.join(known[:20])}")
    place = known.index(asked)
    if by == "label":
        labels: Any = split.source.labels(indices) if made is None else classifier_of(run)(made).numpy()
        kept, target = np.arange(len(labels)), np.asarray(labels) == place
    else:
        rows = split.source.rows(indices).x if made is None else shown_rows(made, run.spec, run.view)
        values = rows[:, place].astype(np.float64)
        kept = np.flatnonzero(~np.isnan(values))
        target = _at_category(values[kept], asked, category, (spec.fields or ())[place])
    others = [load_direction(run, each).vector for each in keep]
    if made is None:
        codes = torch.as_tensor(run.encode(split, indices[kept]), device=run.device)
    else:
        codes = given.z[torch.as_tensor(kept, device=given.z.device)]
    found, score = latent.supervised_direction(
        codes, target, orthogonal_to=torch.stack(others) if others else None
    )
    aside = f", orthogonal to {', '.join(keep)}" if keep else ""
    origin = f"{what} {of}{' of samples' if made is not None else ''}{aside}"
    return Found([name], found[None], torch.tensor([score]), "held-out score", origin, codes)


def _made(run: Run, given: Given) -> Tensor:
    """(N, *X) what codes are decoded to, as a person is shown it, on the CPU."""
    import torch

    from ganvae_core.evaluation.sampling import CHUNK

    parts: list[Tensor] = []
    with torch.no_grad(), run.computing():
        for start in range(0, len(given.z), CHUNK):
            condition = None if given.condition is None else given.condition[start : start + CHUNK]
            parts.append(run.model(given.z[start : start + CHUNK], condition).cpu())
    return torch.cat(parts)


def _at_category(values: np.ndarray, column: str, category: str, field: Field) -> np.ndarray:
    """The numbers of a column, or which rows have a category of it.

    Raises:
        ConfigurationError: the column has no such category, or none is named.
    """
    if bool(category) != bool(field.categories):
        kind = "categories" if field.categories else "numbers, not categories"
        fit = f"{column}={field.categories[0]}" if field.categories else column
        raise ConfigurationError(f"--of: column '{column}' has {kind}.", f"like  --of {shlex.quote(fit)}")
    if not field.categories:
        return values
    if category not in field.categories:
        near = did_you_mean(category, field.categories)
        raise ConfigurationError(
            f"--of: column '{column}' has no category '{category}'.{near}",
            f"categories: {', '.join(field.categories[:20])}",
        )
    return values == field.categories.index(category)
