"""Encoders whose codes are entries of a codebook: vector quantisation, and finite scalar quantisation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvae_core.builtin.automatic import auto_encoder
from ganvae_core.builtin.option_checks import in_range, one_of, positive_sizes
from ganvae_core.distributions import Dirac
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Encoder, Posterior
from ganvae_core.types import DataSpec

DEAD, MOVED = 0.1, 0.0999
"""Shares of the places, in units of the mean share: below the first an entry is dead. It is moved with the second, so
that it is moved again, and is not counted as used, unless the next batch uses it."""
NEARBY = 0.1
"""A dead code is moved to a used one, with noise of this many deviations of the encoder's output."""


@final
@dataclass(frozen=True, eq=False)
class QuantisedCodes(Posterior):
    """All mass at one code, which is made of entries of a codebook.

    Args:
        location: (B, *Z), whose gradient passes the quantisation unchanged (van den Oord et al. 2017).
        encoded: (B, P, d) what was quantised, at each of P places.
        indices: (B, P) numbers in the codebook.
    """

    location: Tensor
    encoded: Tensor
    indices: Tensor

    @property
    def mean(self) -> Tensor:
        return self.location

    def rsample(self, shape: tuple[int, ...] = ()) -> Tensor:
        return self.location.expand(shape + self.location.shape)

    def log_prob(self, z: Tensor) -> Tensor:
        return Dirac(self.location).log_prob(z)


@final
class QuantisedEncoder(Encoder):
    """An encoder whose output is replaced by entries of a codebook, place by place.

    A code (d, *grid) has a vector of d numbers at each of the P places of the grid; (d,) has one place.

    ``codebook``: each vector becomes the nearest entry (van den Oord, Vinyals and Kavukcuoglu, Neural Discrete
    Representation Learning, 2017). The entries follow moving averages of the vectors that they stand for, which
    ``learn`` keeps, run by the objective ``vq`` after each update. At the first batch they are spread over it by its
    mean and deviation, and for ``1 / (1 - decay)`` updates the averages are those since the start, which is online
    k-means (MacQueen 1967). An entry that stands for less than a tenth of its share is moved next to one in use, drawn
    in proportion to its share.

    ``scalar``: each number is rounded to one of a few levels, so the codebook is a fixed grid and nothing is learned
    (finite scalar quantisation: Mentzer et al., 2024).

    Args:
        data: what the data is.
        latent_shape: *Z: (d, *grid).
        condition_shape: *K, or None for an unconditional model.
        network: what is quantised, for example {name: resnet, filters: 64, posterior: dirac}; null: as data asks for.
        quantiser: codebook or scalar.
        codes: number of entries of a codebook.
        levels: of each of the d numbers, for scalar; their product is the number of codes.
        decay: of the moving averages, for codebook.

    Raises:
        ConfigurationError: an option is out of its range, or there are not d levels.
    """

    codebook: Tensor
    shares: Tensor
    totals: Tensor
    updates: Tensor
    deterministic = True

    def __init__(
        self,
        data: DataSpec,
        latent_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        network: Encoder | None = None,
        quantiser: Literal["codebook", "scalar"] = "codebook",
        codes: int = 512,
        levels: tuple[int, ...] = (8, 5, 5, 5),
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        self.learns = one_of("quantiser", quantiser, ("codebook", "scalar")) == "codebook"
        self.network = network or auto_encoder(data, latent_shape, condition_shape, posterior="dirac")
        in_range(below=1, decay=decay)
        self.decay = decay
        size = self.latent_shape[0]
        if self.learns:
            in_range(least=1, codes=codes)
            codebook = torch.randn(codes, size)
        else:
            codebook = _grid(levels, self.latent_shape)
        self.levels = None if self.learns else levels
        self.places = math.prod(self.latent_shape[1:])
        self.register_buffer("codebook", codebook)  # (K, d)
        self.register_buffer("shares", torch.full((len(codebook),), 1 / len(codebook)))  # of the places
        self.register_buffer("totals", codebook / len(codebook) if self.learns else torch.empty(0))
        self.register_buffer("updates", torch.zeros(()))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> QuantisedCodes:
        given: Posterior = self.network(x, condition)
        # In bf16 another entry than the nearest would be found.
        with torch.autocast(x.device.type, enabled=False):
            encoded = self._by_place(_at_least_fp32(given.mean))
            continuous = encoded if self.levels is None else _bounded(encoded, self.levels)
            indices = self._nearest(continuous)
            chosen = self.codebook.to(encoded.dtype)[indices]
            location = continuous + (chosen - continuous).detach()
            return QuantisedCodes(self._as_code(location), encoded, indices)

    def indices(self, z: Tensor) -> Tensor:
        """(B, *Z) -> (B, P) numbers of the nearest entries."""
        with torch.autocast(z.device.type, enabled=False):
            return self._nearest(self._by_place(_at_least_fp32(z)))

    def codes(self, indices: Tensor) -> Tensor:
        """(B, P) numbers of entries -> (B, *Z)."""
        return self._as_code(self.codebook[indices])

    def statistics(self, posterior: QuantisedCodes) -> dict[str, Tensor]:
        """What ``learn`` needs of a batch, for ``Loss.statistics``: averages over its places."""
        encoded = posterior.encoded.detach().flatten(0, 1)  # (B · P, d)
        chosen = F.one_hot(posterior.indices.flatten(), len(self.codebook)).to(encoded.dtype)
        found = {"shares": chosen.mean(0)}
        if self.learns:
            found["totals"] = chosen.T @ encoded / len(encoded)
            found["mean"], found["square"] = encoded.mean(0), encoded.square().mean(0)
        return found

    def usage(self) -> dict[str, Tensor]:
        """``usage`` (): the share of codes in use; ``perplexity`` (): exp of the entropy of the shares.

        Entries of a learned codebook that are not in use were just moved, and have no part in the perplexity.
        """
        used = self.shares * len(self.shares) > DEAD
        shares = torch.where(used, self.shares, 0) if self.learns else self.shares
        shares = shares / shares.sum().clamp(min=1e-12)
        entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
        return {"usage": used.to(shares.dtype).mean(), "perplexity": entropy.exp()}

    def learn(self, averages: Mapping[str, Tensor]) -> None:
        """Move the codebook, and the shares of its entries, by the averaged ``statistics``."""
        self.updates += 1
        rate = (1 / self.updates).clamp(min=1 - self.decay)
        first = self.updates == 1
        if not self.learns:
            self.shares.lerp_(averages["shares"], rate)
            return
        deviation = (averages["square"] - averages["mean"].square()).clamp(min=1e-8).sqrt()
        spread = averages["mean"] + deviation * torch.randn_like(self.codebook)
        self.shares.copy_(torch.where(first, self.shares, self.shares.lerp(averages["shares"], rate)))
        self.totals.copy_(
            torch.where(first, spread / len(self.shares), self.totals.lerp(averages["totals"], rate))
        )
        entries = self.totals / self.shares.clamp(min=1e-12)[:, None]
        dead = (self.shares * len(self.shares) < DEAD)[:, None]
        used = entries[torch.multinomial(self.shares, len(self.shares), replacement=True)]
        moved = used + NEARBY * deviation * torch.randn_like(used)
        self.codebook.copy_(torch.where(dead, moved, entries))
        self.shares.copy_(torch.where(dead[:, 0], MOVED / len(self.shares), self.shares))
        self.totals.copy_(self.codebook * self.shares[:, None])

    def _by_place(self, z: Tensor) -> Tensor:
        """(B, d, *grid) -> (B, P, d)."""
        return z.reshape(z.shape[0], self.latent_shape[0], self.places).transpose(1, 2)

    def _as_code(self, vectors: Tensor) -> Tensor:
        """(B, P, d) -> (B, d, *grid)."""
        return vectors.transpose(1, 2).reshape(vectors.shape[0], *self.latent_shape)

    def _nearest(self, vectors: Tensor) -> Tensor:
        codebook = self.codebook.to(vectors.dtype)
        # The squared distance without what all entries share.
        return (codebook.square().sum(1) - 2 * vectors.detach() @ codebook.T).argmin(-1)


def _at_least_fp32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _grid(levels: Sequence[int], latent_shape: Sequence[int]) -> Tensor:
    """(K, d) all codes of a scalar quantiser, within [-1, 1]."""
    size, *grid = latent_shape
    possible = bool(levels) and min(levels) >= 2
    if not possible or len(levels) != size:
        enough = [max(2, count) for count in [*levels, *[5] * size][:size]]
        raise ConfigurationError(
            f"levels: {_listed(levels)} is not possible: it has a number of levels, 2 or more, for each of the {size}"
            f" numbers that latent.shape={_listed(latent_shape)} has at each place.",
            f"give as many:  encoder.levels={_listed(enough)}",
            f"or make the codes fit:  latent.shape={_listed([len(levels), *grid])}" if possible else "",
        )
    values = [[(step - count // 2) / (count // 2) for step in range(count)] for count in levels]
    return torch.tensor(list(itertools.product(*values)))


def _listed(numbers: Sequence[int]) -> str:
    """A list as it is typed: ``[4,8,8]``."""
    return f"[{','.join(map(str, numbers))}]"


def _bounded(vectors: Tensor, levels: Sequence[int]) -> Tensor:
    """(B, P, d) within the range of the levels, in units of half of them, as in Mentzer et al.'s code."""
    count = vectors.new_tensor(levels)
    half = (count - 1) * (1 + 1e-3) / 2
    offset = torch.where(count % 2 == 0, 0.5, 0.0)
    shift = (offset / half).atanh()
    return ((vectors + shift).tanh() * half - offset) / torch.div(count, 2, rounding_mode="floor")
