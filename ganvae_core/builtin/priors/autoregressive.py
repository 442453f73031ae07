"""A prior over the codes of a quantised encoder, place after place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core.builtin.layers import check_condition
from ganvae_core.builtin.option_checks import in_range, positive_number, positive_sizes
from ganvae_core.builtin.quantised import QuantisedEncoder
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Encoder, LatentPrior, Support


@final
class Autoregressive(LatentPrior):
    """p(z) = Π p(k_i | k_1 … k_{i-1}) over the numbers of the codebook's entries, by a masked transformer.

    As van den Oord et al. 2017 did with a PixelCNN; transformers over a codebook are from Esser et al., Taming
    Transformers, 2021. ``log_prob`` is the logarithm of a probability, and a code that is not in the codebook counts
    as the nearest one that is. It is trained in a stage of its own, by the objective ``prior-likelihood``.

    Args:
        latent_shape: *Z: (d, *grid).
        encoder: whose codebook it is; it stays the model's.
        condition_shape: *K, or None for an unconditional model.
        width: of the transformer.
        layers: of it.
        heads: of its attention.
        temperature: of the draws; below 1 they are the more probable ones.

    Raises:
        ConfigurationError: the encoder has no codebook, or an option is out of its range.
    """

    support: Support = "discrete"
    sampling_options = ("temperature",)

    def __init__(
        self,
        latent_shape: Sequence[int],
        encoder: Encoder,
        condition_shape: Sequence[int] | None = None,
        *,
        width: int = 128,
        layers: int = 3,
        heads: int = 4,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, QuantisedEncoder):
            raise ConfigurationError(
                "the prior 'autoregressive' is over the entries of a codebook, and this encoder has none.",
                "take an encoder with a codebook:  encoder=quantised objective=vq",
            )
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        in_range(least=1, width=width, layers=layers, heads=heads)
        if width % heads:
            raise ConfigurationError(f"width ({width}) must be a multiple of heads ({heads}).")
        self.temperature = positive_number("temperature", temperature)
        self.encoder = (encoder,)  # a tuple, so that its weights are not stored twice
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        codes, self.places = len(encoder.codebook), encoder.places
        self.entry = nn.Embedding(codes, width)
        self.place = nn.Parameter(torch.randn(self.places, width) * 0.02)
        self.given = None if condition_shape is None else nn.Linear(math.prod(condition_shape), width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Linear(width, codes)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        indices = torch.zeros(count, 0, dtype=torch.long, device=self.place.device)
        for _ in range(self.places):
            logits = self._logits(indices, condition)[:, -1] / self.temperature
            indices = torch.cat([indices, torch.multinomial(logits.softmax(1), 1)], 1)
        return self.encoder[0].codes(indices).to(self.place.dtype)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        indices = self.encoder[0].indices(z)
        logits = self._logits(indices[:, :-1], condition)
        return (
            -F.cross_entropy(logits.flatten(0, 1), indices.flatten(), reduction="none")
            .reshape(indices.shape)
            .sum(1)
        )

    def _logits(self, before: Tensor, condition: Tensor | None) -> Tensor:
        """(B, n) first entries -> (B, n + 1, K) logits of each of them and of the next one."""
        check_condition(condition, self.condition_shape)
        hidden = F.pad(self.entry(before), (0, 0, 1, 0)) + self.place[: before.shape[1] + 1]
        if self.given is not None and condition is not None:
            hidden = hidden + self.given(condition.flatten(1).to(hidden.dtype)).unsqueeze(1)
        causal = nn.Transformer.generate_square_subsequent_mask(
            hidden.shape[1], device=hidden.device, dtype=hidden.dtype
        )
        return self.head(self.transformer(hidden, mask=causal, is_causal=True))
