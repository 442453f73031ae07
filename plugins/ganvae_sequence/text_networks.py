"""Networks and the observation of texts, whose x (B, T) holds numbers of tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core import (
    ConfigurationError,
    DataSpec,
    DiagonalNormal,
    Dirac,
    Encoder,
    Inputs,
    Observation,
    ObservedData,
    SequentialData,
    in_range,
    posterior_of,
    sum_event,
)
from ganvae_sequence.series_networks import halving_convolutions
from ganvae_sequence.vocabulary import Vocabulary, is_text

Choose = Callable[[Tensor, int], Tensor]
"""Logits (B, size) of the tokens at a place, and the place, to numbers of tokens (B,)."""


@final
class TextEncoder(Encoder):
    """Embedded characters, convolutions that halve their number, and a linear layer to a Gaussian posterior.

    Args:
        data: what the data is: texts.
        latent_shape: *Z.
        condition_shape: *K, or None for an unconditional model.
        filters: channels of the first convolution; doubled with each of the others.
        stages: convolutions.

    Raises:
        ConfigurationError: the data is no text, or an option is not positive.
    """

    def __init__(
        self,
        data: DataSpec,
        latent_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        filters: int = 64,
        stages: int = 3,
    ) -> None:
        super().__init__()
        size = _vocabulary_size(data, "encoder 'text'")
        in_range(least=1, filters=filters, stages=stages)
        self.latent_shape = tuple(latent_shape)
        self.embedding = nn.Embedding(size, filters)
        self.layers, width = halving_convolutions(data.shape[0], filters, filters, stages)
        self.inputs = Inputs((width,), condition_shape)
        self.head = nn.Linear(self.inputs.size, 2 * math.prod(self.latent_shape))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal | Dirac:
        # A number between two tokens lies between their embeddings, so that x has a gradient.
        below = x.detach().long().clamp(max=self.embedding.num_embeddings - 2)
        embedded = torch.lerp(self.embedding(below), self.embedding(below + 1), (x - below)[..., None])
        features = self.inputs(self.layers(embedded.transpose(1, 2)), condition)  # from (B, T, filters)
        return posterior_of(self.head(features), self.latent_shape)


@final
class Tokens(Observation):
    """Tokens of a text, x (B, T): each given those before it, or independent of each other.

    Autoregressive: the generator gives a context (B, width), from which a gated recurrent unit starts, and which it is
    given with every token (Bowman et al., Generating Sentences from a Continuous Space, 2016). Independent: the
    generator gives logits (B, T, vocabulary). After the end of a text, draws are the end.

    ``mean`` of a code is one text: the most probable tokens repeat frequent words without end (Holtzman et al., The
    Curious Case of Neural Text Degeneration, 2020), so autoregressive tokens are drawn, with low temperature and with
    the same noise for every code. Texts of neighbouring codes differ by what the codes say. Where words are tokens,
    none is spelled in it, since the first letter of any rare word is more probable than each frequent word. Its
    gradient is that of the expected number of a token.

    Args:
        data: what the data is: texts.
        autoregressive: whether tokens depend on those before.
        width: of the recurrent unit's state and of the context.
        word_dropout: share of the tokens before that the unit is not given in training, so that it needs the code.
        temperature: of ``mean``; 0 for the most probable tokens, 1 for texts as varied as draws.

    Raises:
        ConfigurationError: the data is no text, or an option is out of range.
    """

    shown = "draw"

    def __init__(
        self, data: DataSpec, *, autoregressive: bool = True, width: int = 128, word_dropout: float = 0.0,
        temperature: float = 0.3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.size, self.length = _vocabulary_size(data, "observation 'tokens'"), data.shape[0]
        in_range(least=1, width=width)
        in_range(below=1, word_dropout=word_dropout)
        in_range(temperature=temperature)
        if word_dropout and not autoregressive:
            raise ConfigurationError("word_dropout is for autoregressive tokens.", "word_dropout=0")
        self.word_dropout, self.width = word_dropout, width
        uniform = torch.rand(
            self.length, self.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        self.noise: Tensor
        self.register_buffer(
            "noise", -temperature * (-uniform.clamp_min(1e-12).log()).log().float(), persistent=False
        )
        self.noise[:, Vocabulary.read(data).spelling] = -math.inf  # the text of a code has whole words
        self.unit = _Unit(self.size, width) if autoregressive else None

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return (self.length, self.size) if self.unit is None else (self.width,)

    def forward(self, raw: Tensor) -> ObservedData:
        if self.unit is None:
            return IndependentTokens(raw)
        dropped = self.word_dropout if self.training else 0.0
        return UnrolledTokens(self.unit, raw, self.noise, dropped)


class _Unit(nn.Module):
    """The recurrent unit over tokens. Two inputs are no tokens of the vocabulary: the beginning and a dropped one."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.beginning, self.dropped = size, size + 1
        self.embedding = nn.Embedding(size + 2, width)
        self.context = nn.Linear(width, width)
        self.initial = nn.Linear(width, width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.output = nn.Linear(width, size)

    def state(self, context: Tensor) -> Tensor:
        """(B, width) -> (1, B, width)."""
        return self.initial(context).tanh()[None]

    def forward(self, before: Tensor, context: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens before (B, T), context (B, width), state (1, B, width) -> logits (B, T, size), and the state."""
        inputs = self.embedding(before) + self.context(context)[:, None]
        outputs, state = self.recurrent(inputs, state.to(inputs.dtype))
        return self.output(outputs).float() if outputs.dtype is torch.bfloat16 else self.output(
            outputs
        ), state


@final
class UnrolledTokens(SequentialData):
    """Tokens (B, T), each given those before it and the context (B, width); noise (T, size) of ``mean``."""

    def __init__(self, unit: _Unit, context: Tensor, noise: Tensor, dropped: float = 0.0) -> None:
        self.unit, self.context, self.noise, self.dropped = unit, context, noise, dropped

    def _unrolled(self, choose: Choose) -> Tensor:
        state = self.unit.state(self.context)
        token = torch.full((self.context.shape[0], 1), self.unit.beginning, device=self.context.device)
        ended = torch.zeros_like(token, dtype=torch.bool)
        chosen: list[Tensor] = []
        for place in range(len(self.noise)):
            logits, state = self.unit(token, self.context, state)
            number = choose(logits[:, 0], place)[:, None].where(~ended, 0.0)  # (B, 1)
            token = number.detach().round().long()
            ended = ended | (token == 0)
            chosen.append(number)
        return torch.cat(chosen, 1)

    @property
    def mean(self) -> Tensor:
        return self._unrolled(lambda logits, place: _highest(logits, self.noise[place]))

    def sample(self) -> Tensor:
        with torch.no_grad():
            return self._unrolled(lambda logits, place: _drawn(logits))

    def filled(self, x: Tensor, mask: Tensor) -> Tensor:
        # Whether a character is observed from each place on, before which the text does not end.
        goes_on = ((x != 0) & mask).flip(1).cumsum(1).flip(1) > 0

        def chosen(logits: Tensor, place: int) -> Tensor:
            logits[goes_on[:, place], 0] = -math.inf
            return torch.where(mask[:, place], x[:, place], _drawn(logits))

        with torch.no_grad():
            return self._unrolled(chosen)

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        draws = x.shape[:-2]  # leading sample axes
        tokens = x.flatten(0, -2).round().long()  # (S · B, T)
        context = self.context.repeat(math.prod(draws), 1)
        before = nn.functional.pad(tokens[:, :-1], (1, 0), value=self.unit.beginning)
        if self.dropped:
            before = before.masked_fill(
                torch.rand(before.shape, device=before.device) < self.dropped, self.unit.dropped
            )
        logits, _ = self.unit(before, context, self.unit.state(context))
        # After the end there are no more tokens to be uncertain of.
        after = (tokens == 0).cumsum(1) - (tokens == 0).long() > 0
        terms = _log_probabilities(logits, tokens)
        terms = torch.where(after, torch.where(tokens == 0, 0.0, -math.inf), terms)
        return sum_event(terms.reshape(x.shape), 1, mask)


@final
class IndependentTokens(ObservedData):
    """Tokens (B, T) that are independent given their logits (B, T, vocabulary)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        return _highest(self.logits)

    def sample(self) -> Tensor:
        return _drawn(self.logits.detach().flatten(0, 1)).reshape(self.logits.shape[:-1])

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        tokens = x.round().long()
        logits = self.logits.expand(*tokens.shape, self.logits.shape[-1])
        return sum_event(_log_probabilities(logits, tokens), 1, mask)


def _highest(logits: Tensor, noise: Tensor | float = 0.0) -> Tensor:
    """(…, size) -> (…) numbers of the most probable tokens under noise, with the gradient of their expectation."""
    numbers = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    expected = (logits.softmax(-1) * numbers).sum(-1)
    return (logits + noise).argmax(-1).to(logits.dtype) + (expected - expected.detach())


def _drawn(logits: Tensor) -> Tensor:
    """(N, size) -> (N,) numbers of tokens."""
    return torch.multinomial(logits.softmax(-1), 1)[:, 0].to(logits.dtype)


def _log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """(*, T, size), (*, T) -> (*, T) nats."""
    return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


def _vocabulary_size(data: DataSpec, what: str) -> int:
    if not is_text(data):
        raise ConfigurationError(
            f"{what} is for texts, and the data is of modality '{data.modality}'.",
            "text in a .txt file, or a column of a table:  data=text data.path=FILE data.column=NAME",
        )
    return Vocabulary.read(data).size
