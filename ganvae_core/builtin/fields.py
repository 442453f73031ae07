"""The observation of tables: a distribution for each field, over its number and its choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core.builtin.option_checks import in_range
from ganvae_core.distributions import LOG_2_PI
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Observation, ObservedData
from ganvae_core.types import DataSpec, Field

LOWEST_LOG_SCALE = -4.0
"""Numbers in x have deviation 1; below exp(-4) of that a scale only measures how exactly they are reproduced."""
LEAST_SCALE = 0.0184
"""From which a learned scale may start: above exp(-4)."""


@final
class FieldLayout(nn.Module):
    """Where the numbers and the choices of fields lie in x.

    Args:
        fields: the columns, in the order of x.

    Attributes:
        numbers: (N,) positions of numbers; a constant is none, unless there are only constants.
        choices: (C,) positions of choices, those of a field side by side.
        sizes: how many of them each field has that has any.
        owner: (C,) which of those fields each choice belongs to.
    """

    numbers: Tensor
    choices: Tensor
    owner: Tensor
    ordinary: Tensor

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__()
        self.width = sum(field.width for field in fields)
        chosen = [field for field in fields if field.choices]
        self.sizes = [field.choices for field in chosen]
        numbers, ordinary = list[int](), list[list[int]]()
        constant = all(field.kind == "constant" for field in fields)
        for field in fields:
            first, always = field.start + field.numbers, [self.width]
            for at in range(field.numbers if constant or field.kind != "constant" else 0):
                numbers.append(field.start + at)
                ordinary.append([*range(first, first + field.ordinary)] or always)
        longest = max([1, *map(len, ordinary)])
        buffers = {
            "numbers": numbers,
            "choices": [field.start + field.numbers + at for field in chosen for at in range(field.choices)],
            "owner": [row for row, field in enumerate(chosen) for _ in range(field.choices)],
            # Of each number the choices that say that it is there; x is continued by a 1 and a 0.
            "ordinary": [[*row, *[self.width + 1] * (longest - len(row))] for row in ordinary],
        }
        for name, values in buffers.items():
            shape = (len(numbers), longest) if name == "ordinary" else (-1,)
            self.register_buffer(
                name, torch.tensor(values, dtype=torch.int64).reshape(shape), persistent=False
            )

    def are_there(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., N), 1 where a number is there and 0 where its cell is a spike or missing."""
        continued = F.pad(F.pad(x, (0, 1), value=1.0), (0, 1))
        return continued[..., self.ordinary].sum(-1)

    def joined(self, numbers: Tensor, choices: Tensor) -> Tensor:
        """(B, N) and (B, C) -> x (B, D), with 0 for each number that is not there."""
        x = numbers.new_zeros(numbers.shape[0], self.width).index_copy(1, self.choices, choices)
        return x.index_copy(1, self.numbers, numbers * self.are_there(x))

    def log_softmax(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, C): normalised for each field."""
        if not self.sizes:
            return logits
        totals = torch.stack([part.logsumexp(1) for part in logits.split(self.sizes, 1)], 1)
        return logits - totals.index_select(1, self.owner)

    def drawn(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, C): one choice of each field is 1 (Gumbel's trick)."""
        if not self.sizes:
            return logits
        noisy = logits + gumbel(logits)
        parts = [F.one_hot(part.argmax(1), part.shape[1]) for part in noisy.split(self.sizes, 1)]
        return torch.cat(parts, 1).to(logits.dtype)


def gumbel(like: Tensor) -> Tensor:
    """Independent draws from Gumbel's distribution, of the shape of a tensor."""
    return -torch.empty_like(like).exponential_().clamp(min=torch.finfo(like.dtype).tiny).log()


@final
@dataclass(frozen=True, eq=False)
class FieldsData(ObservedData):
    """A mixture of Gaussians for each number, and a categorical distribution for each choice.

    Args:
        layout: of the fields.
        log_weights: (B, N, K) of the components, normalised.
        locations: (B, N, K).
        log_scales: (B, N, K), or (N, K).
        logits: (B, C) of the choices.
    """

    layout: FieldLayout
    log_weights: Tensor
    locations: Tensor
    log_scales: Tensor
    logits: Tensor

    @property
    def mean(self) -> Tensor:
        numbers = (self.log_weights.exp() * self.locations).sum(-1)
        return self.layout.joined(numbers, self.layout.log_softmax(self.logits).exp())

    def sample(self) -> Tensor:
        component = (self.log_weights + gumbel(self.log_weights)).argmax(-1, keepdim=True)
        location = self.locations.gather(-1, component)[..., 0]
        scale = self.log_scales.expand_as(self.locations).gather(-1, component)[..., 0].exp()
        numbers = location + scale * torch.randn_like(location)
        return self.layout.joined(numbers, self.layout.drawn(self.logits))

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        layout = self.layout
        x = x if mask is None else x.where(mask, 0.0)
        # A missing cell that is not learned has no choice that is 1, and adds nothing.
        chosen = (x[..., layout.choices] * layout.log_softmax(self.logits)).sum(-1)
        there = layout.are_there(x)
        if mask is not None:
            there = there * mask[..., layout.numbers]
        distance = (x[..., layout.numbers, None] - self.locations) * (-self.log_scales).exp()
        density = self.log_weights - 0.5 * distance.square() - self.log_scales - 0.5 * LOG_2_PI
        return chosen + (density.logsumexp(-1) * there).sum(-1)


@final
class Fields(Observation):
    """A distribution for each column of a table.

    Numbers have a Gaussian whose scale is learned, one for each field, or a mixture whose weights, means and scales the
    generator gives; categories, spikes and missing cells are categorical. Only what is observed counts: the number of
    a cell that is missing or a spike has no likelihood. With one component it is TVAE's observation (Xu et al.,
    Modeling Tabular Data using Conditional GAN, 2019).

    Args:
        data: what the data is; it has fields.
        components: of the mixture for each number; one is a Gaussian with a learned scale.
        scale: what the learned scales start from, in x, whose numbers have deviation 1.

    Raises:
        ConfigurationError: the data has no fields, or an option is out of range.
    """

    def __init__(self, data: DataSpec, *, components: int = 1, scale: float = 0.5) -> None:
        super().__init__()
        in_range("observation.", least=1, components=components)
        in_range("observation.", least=LEAST_SCALE, scale=scale)
        self.layout = layout_of(data)
        self.components = components
        self.count, self.choices = len(self.layout.numbers), len(self.layout.choices)
        self.excess = None
        if components == 1:  # scales are exp(LOWEST + softplus(excess))
            excess = math.log(scale) - LOWEST_LOG_SCALE
            self.excess = nn.Parameter(torch.full((self.count, 1), math.log(math.expm1(excess))))

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return (self.count * (1 if self.components == 1 else 3 * self.components) + self.choices,)

    def forward(self, raw: Tensor) -> FieldsData:
        numbers, logits = raw.split([raw.shape[1] - self.choices, self.choices], 1)
        if self.excess is not None:
            log_scales = LOWEST_LOG_SCALE + F.softplus(self.excess)
            locations = numbers[..., None]
            return FieldsData(self.layout, torch.zeros_like(locations), locations, log_scales, logits)
        weights, locations, scales = numbers.unflatten(1, (3, self.count, self.components)).unbind(1)
        log_scales = LOWEST_LOG_SCALE + F.softplus(scales - LOWEST_LOG_SCALE)
        return FieldsData(self.layout, weights.log_softmax(-1), locations, log_scales, logits)


def layout_of(data: DataSpec) -> FieldLayout:
    """The layout of data that has fields.

    Raises:
        ConfigurationError: it has none.
    """
    if not data.fields:
        raise ConfigurationError(
            "observation: 'fields' is for tables, and this data has no columns.",
            "use observation=gaussian, or read a table:  --data x.csv",
        )
    return FieldLayout(data.fields)


def chosen_fields(raw: Tensor, layout: FieldLayout, temperature: float) -> Tensor:
    """(B, D) -> a row that looks like one of a table, differentiable: a GAN's output.

    Choices are drawn, one-hot, with the gradient of a softmax (straight-through Gumbel softmax; Jang et al. 2017,
    Maddison et al. 2017), and the number of a cell that is a spike or missing is 0.
    """
    logits = raw.index_select(1, layout.choices)
    noisy = layout.log_softmax((logits + gumbel(logits)) / temperature).exp()
    hard = torch.cat([F.one_hot(part.argmax(1), part.shape[1]) for part in noisy.split(layout.sizes, 1)], 1)
    return layout.joined(raw.index_select(1, layout.numbers), hard - noisy.detach() + noisy)
