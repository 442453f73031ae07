"""Bits per character of held-out texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch

from ganvae_core import Figure, Metric, Subject, in_range, kl
from ganvae_sequence.vocabulary import Vocabulary, is_text


@final
class Bits(Metric):
    """The evidence lower bound of held-out texts by the character, and its KL term.

    The end of a text counts as a character. Bits per character are an upper bound of -log2 p(x) / characters.

    Args:
        rows: held-out texts that are measured at most, evenly spread.

    Raises:
        ConfigurationError: ``rows`` is not positive.
    """

    needs = frozenset(("posterior", "likelihood", "prior"))
    figures = (
        Figure("bits_per_character", "bits per character", "", "lower"),
        Figure("kl_nats", "KL to the prior", "nats", "higher"),
    )

    def __init__(self, *, rows: int = 2_000) -> None:
        in_range("bits: ", least=1, rows=rows)
        self.rows = rows

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """``bits_per_character`` over all held-out characters, and ``kl_nats`` averaged over texts."""
        model, bound, divergence, characters, texts = subject.model, 0.0, 0.0, 0, 0
        spec = subject.spec
        widths = torch.tensor(Vocabulary.read(spec).widths, device=subject.device) if is_text(spec) else None
        for batch in subject.held_out(self.rows):
            posterior = model.encode(batch.x, batch.condition)
            z = posterior.rsample()
            costs = kl(posterior, model.prior, z=z, condition=batch.condition)
            likelihood = model.decode(z, batch.condition).log_prob(batch.x, batch.mask)
            bound += float((likelihood - costs).double().sum())
            divergence += float(costs.double().sum())
            of_tokens = torch.ones_like(batch.x) if widths is None else widths[batch.x.long()]
            characters += int((of_tokens if batch.mask is None else of_tokens * batch.mask).sum())
            texts += len(batch.x)
        return {
            "bits_per_character": -bound / characters / math.log(2),
            "kl_nats": divergence / texts,
        }
