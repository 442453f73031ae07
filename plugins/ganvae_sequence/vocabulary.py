"""Texts as numbers of tokens, and back. Token 0 ends a text, and fills the positions after its end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ganvae_core import DataSpec

Unit = Literal["characters", "bytes", "words"]
UNITS: tuple[Unit, ...] = get_args(Unit)
ASCII = [chr(code) for code in range(32, 127)]
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
PIECE = re.compile(r" ?[^\W_]+(?:['’][^\W_]+)*| ?[^\w\s]|.", re.DOTALL)
"""A word or a mark, with the blank before it."""
RAREST = 3
"""Times that a word of the vocabulary occurs at least."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of texts.

    Printable ASCII, the end of a line and the character for unknown ones come first in every vocabulary of characters,
    so that texts in plain English have one vocabulary. Others that the texts use follow by their code points, and then
    words, each with the blank before it. Other words are spelled in characters.

    Args:
        unit: characters, bytes of UTF-8, of which there are 256, or words.
        others: the characters that follow.
        words: the frequent words and marks of a vocabulary of words.
    """

    unit: Unit
    others: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Sequence[str], unit: Unit, most_others: int, most_words: int) -> Vocabulary:
        """The vocabulary of texts; of further characters, and of words, the most frequent ones."""
        if unit == "bytes":
            return cls("bytes")
        counts: dict[str, int] = {}
        for text in texts:
            if not text.isascii():
                for character in text:
                    if character > "~":
                        counts[character] = counts.get(character, 0) + 1
        counts.pop(UNKNOWN, None)
        chosen = sorted(counts, key=lambda character: (-counts[character], character))[:most_others]
        words: list[str] = []
        if unit == "words":
            pieces = Counter(piece for text in texts for piece in PIECE.findall(text) if len(piece) > 1)
            words = [piece for piece, times in pieces.most_common(most_words) if times >= RAREST]
        return cls(unit, tuple(sorted(chosen)), tuple(words))

    @classmethod
    def read(cls, spec: DataSpec) -> Vocabulary:
        """The vocabulary that a specification of texts describes."""
        details: dict[str, Any] = dict(spec.details)
        return cls(details["unit"], tuple(details["others"]), tuple(details.get("words", ())))

    @property
    def details(self) -> dict[str, Any]:
        """What ``read`` reads, as JSON values."""
        found = {"unit": self.unit, "others": list(self.others)}
        return found | ({"words": list(self.words)} if self.words else {})

    @property
    def characters(self) -> list[str]:
        """The characters of tokens 1, 2 … of a vocabulary of characters or words."""
        return [*ASCII, "\n", UNKNOWN, *self.others]

    @property
    def size(self) -> int:
        """The number of tokens, the end included."""
        return 257 if self.unit == "bytes" else len(self.characters) + len(self.words) + 1

    @property
    def widths(self) -> list[int]:
        """Characters of each token; the end counts as one. Bytes of a vocabulary of bytes."""
        return (
            [1] * 257
            if self.unit == "bytes"
            else [1] + [len(each) for each in (*self.characters, *self.words)]
        )

    @property
    def spelling(self) -> list[int]:
        """Tokens that rare words are spelled in, where frequent words are tokens."""
        found = enumerate(self.characters if self.words else (), 1)
        return [number for number, character in found if character.isalnum() or character == " "]

    def encode(self, texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Texts as tokens (N, length), a mask (N, length) that is true up to the end of each, the end included, and
        how many are cut.

        A longer text is cut, and its end is not observed.
        """
        cut = 0
        tokens = np.zeros((len(texts), length), np.uint8 if self.size <= 256 else np.uint16)
        mask = np.zeros(tokens.shape, np.bool_)
        unknown = self.characters.index(UNKNOWN) + 1
        numbers = {token: number for number, token in enumerate((*self.characters, *self.words), 1)}
        for row, text in enumerate(texts):
            if self.unit == "bytes":
                found = [byte + 1 for byte in text.encode()]
            else:
                pieces = PIECE.findall(text) if self.unit == "words" else text
                known = [[piece] if piece in numbers else piece for piece in pieces]  # or its characters
                found = [numbers.get(token, unknown) for piece in known for token in piece]
            cut += len(found) > length
            tokens[row, : len(found)] = found[:length]
            mask[row, : len(found) + 1] = True
        return tokens, mask, cut

    def decode(self, rows: np.ndarray) -> list[str]:
        """Tokens (N, T) as texts, each up to its end."""
        tokens = np.clip(np.rint(rows), 0, self.size - 1).astype(np.int64)
        ended = np.concatenate([tokens == 0, np.ones((len(tokens), 1), np.bool_)], axis=1).argmax(1)
        written = ["", *self.characters, *self.words]
        texts: list[str] = []
        for row, end in zip(tokens, ended, strict=True):
            if self.unit == "bytes":
                texts.append(bytes((row[:end] - 1).tolist()).decode("utf-8", "replace"))
            else:
                texts.append("".join(written[token] for token in row[:end]))
        return texts


def is_text(spec: DataSpec) -> bool:
    """Whether rows are texts: flat rows of tokens with a vocabulary."""
    return len(spec.shape) == 1 and {"unit", "others"} <= set(spec.details) and spec.range is not None
