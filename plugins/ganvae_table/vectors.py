"""The columns that a conditional vector is made from, and where their categories lie in x."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganvae_core import DataSpec

KINDS = ("category", "flag")


class Columns(nn.Module):
    """The columns of categories.

    A conditional vector (B, V) has a position for each category of each of them, of which one is 1: it asks for rows
    with that category (CTGAN, Xu et al. 2019). Missing cells are not asked for.

    Args:
        data: what the data is; its fields may have no categories at all, and then V is 0.

    Attributes:
        starts: where each column begins in x.
        widths: how many categories it has there.
        first: (F,) where it begins in the vector.
        size: V.
    """

    cumulative: Tensor
    first: Tensor

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        chosen = [
            field for field in data.fields or () if field.kind in KINDS and field.choices - field.missing > 1
        ]
        self.starts = [field.start for field in chosen]
        self.widths = [field.choices - field.missing for field in chosen]
        self.size = sum(self.widths)
        longest = max(self.widths, default=0)
        shares = torch.zeros(len(chosen), longest)
        for row, field in enumerate(chosen):
            given = torch.tensor(field.shares)
            shares[row, : self.widths[row]] = given[: self.widths[row]]
            shares[row, self.widths[row] - 1] += given[self.widths[row] :].sum()
        first = torch.tensor([sum(self.widths[:row]) for row in range(len(chosen))], dtype=torch.int64)
        self.register_buffer("cumulative", shares.cumsum(1), persistent=False)
        self.register_buffer("first", first, persistent=False)

    def categories(self, x: Tensor) -> list[Tensor]:
        """Of each column the one-hot categories (B, width) of rows; all zero where a cell is missing."""
        return [x[:, start : start + width] for start, width in zip(self.starts, self.widths, strict=True)]

    def vector(self, column: Tensor, category: Tensor) -> Tensor:
        """(B,) columns and (B,) categories -> (B, V)."""
        return nn.functional.one_hot(self.first[column] + category, self.size).to(torch.get_default_dtype())

    def at(self, place: Tensor) -> Tensor:
        """(B, 2) in (0, 1) -> (B, V): any column, and one of its categories, as often as in the data."""
        if not self.size:
            return place.new_zeros(len(place), 0)
        column = (place[:, 0] * len(self.starts)).long().clamp(max=len(self.starts) - 1)
        cumulative = self.cumulative[column]
        category = (place[:, 1:] * cumulative[:, -1:] >= cumulative).sum(1)
        widths = torch.tensor(self.widths, device=place.device)[column]
        return self.vector(column, category.minimum(widths - 1))
