"""Pictures of the effect of each code of a composite prior."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from ganvae_core import (
    Callback,
    Composite,
    ConfigurationError,
    LatentPrior,
    Model,
    TrainingView,
    in_range,
    name_of,
    save_picture,
)

COLUMNS = 10
SHARES = (0.02, 0.98)
"""A continuous code takes so many values, from its 2nd to its 98th percentile."""
DRAWS = 1_000


@final
class CodeGrid(Callback):
    """At the end of a run, one picture for each code: its value changes along a row, everything else from row to row.

    Codes are the parts of a composite prior that have a meaning, as InfoGAN learns them. A code of several coordinates
    has rows for each of them. A heading above each column names the class of a discrete code, or the percentile of a
    continuous one. The pictures lie in ``codes/`` of the run. There are none for data that is not images, or without a
    run directory.

    Args:
        rows: drawn for each discrete code, and for each coordinate of a continuous one.
    """

    def __init__(self, *, rows: int = 8) -> None:
        in_range("code-grid: ", least=1, rows=rows)
        self.rows = rows

    def on_start(self, training: TrainingView) -> None:
        """Refuse a prior without parts before the first step."""
        _composite(training.model)

    def on_samples(self, training: TrainingView) -> None:
        """Draw the pictures, once the run ends; a run that is killed after its last checkpoint has them."""
        if not training.ending or training.directory is None or training.data.spec.modality != "image":
            return
        folder = training.directory / "codes"
        folder.mkdir(exist_ok=True)
        for position, has_meaning in enumerate(_composite(training.model).has_meaning):
            if has_meaning:
                made, headings = code_grid(training.model, position, self.rows)
                path = folder / f"step-{training.step:06d}-part-{position + 1}.png"
                save_picture(made, training.data.spec, path, headings=headings,
                             rows_together=self.rows)  # fmt: skip


@torch.no_grad()
def code_grid(model: Model, position: int, rows: int) -> tuple[Tensor, list[str]]:
    """Samples (rows · columns, *X) along one part of a composite prior, and what the part is in each column.

    Args:
        model: whose prior is a composite one.
        position: of the part, from 0.
        rows: for each coordinate of the part, or in all if it is discrete.
    """
    prior = _composite(model)
    part_prior = prior.parts[position]
    values = _values(part_prior, prior.sizes[position])  # (coordinates, columns, size) with NaN to keep
    coordinates, columns, _ = values.shape
    condition = model.draw_conditions(rows)
    codes = prior.sample(rows, condition)
    swept = codes[None, :, None].repeat(coordinates, 1, columns, 1)  # (coordinates, rows, columns, Z)
    start = sum(prior.sizes[:position])
    part = swept[..., start : start + prior.sizes[position]]
    part.copy_(torch.where(values[:, None].isnan(), part, values[:, None]))
    given = None if condition is None else condition[None, :, None].expand(coordinates, -1, columns, -1)
    flat = None if given is None else given.flatten(0, 2)
    return model.decode(swept.flatten(0, 2), flat).mean, _headings(values, part_prior.support == "discrete")


def _headings(values: Tensor, discrete: bool) -> list[str]:
    """The class of each column, or the percentile of a continuous code, which is the same for all coordinates."""
    if discrete:
        return [str(column) for column in range(values.shape[1])]
    return [f"{share:.0%}" for share in torch.linspace(*SHARES, COLUMNS).tolist()]


def _values(part: LatentPrior, size: int) -> Tensor:
    """The value of the part in each column (coordinates, columns, size); NaN keeps the drawn coordinate."""
    drawn = part.sample(DRAWS).flatten(1)
    if part.support == "discrete":
        return torch.eye(size, device=drawn.device)[None]
    shares = torch.linspace(*SHARES, COLUMNS, device=drawn.device)
    along = drawn.quantile(shares, dim=0)  # (columns, size)
    values = drawn.new_full((size, COLUMNS, size), torch.nan)
    for coordinate in range(size):
        values[coordinate, :, coordinate] = along[:, coordinate]
    return values


def _composite(model: Model) -> Composite:
    if not isinstance(model.prior, Composite):
        raise ConfigurationError(
            f"code-grid draws the parts of a composite prior, and this one is {name_of(model.prior)}.",
            "leave it out:  callbacks=[]",
        )
    return model.prior
