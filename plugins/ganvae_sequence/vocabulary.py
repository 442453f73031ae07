"""Texts as numbers of tokens, and back. Token 0 ends a text, and fills the positions after its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ganvae_core import DataSpec

Unit = Literal["characters", "bytes"]
ASCII = [chr(code) for code in range(32, 127)]
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of texts.

    Printable ASCII, the end of a line and the character for unknown ones come first in every vocabulary of characters,
    so that texts in plain English have one vocabulary. Others that the texts use follow by their code points.

    Args:
        unit: characters, or bytes of UTF-8, of which there are 256.
        others: the characters that follow.
    """

    unit: Unit
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str], unit: Unit, most_others: int) -> Vocabulary:
        """The vocabulary of texts; of further characters the most frequent ones."""
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
        return cls("characters", tuple(sorted(chosen)))

    @classmethod
    def read(cls, spec: DataSpec) -> Vocabulary:
        """The vocabulary that a specification of texts describes."""
        details: dict[str, Any] = dict(spec.details)
        return cls(details["unit"], tuple(details["others"]))

    @property
    def details(self) -> dict[str, Any]:
        """What ``read`` reads, as JSON values."""
        return {"unit": self.unit, "others": list(self.others)}

    @property
    def characters(self) -> list[str]:
        """The characters of tokens 1, 2 … of a vocabulary of characters."""
        return [*ASCII, "\n", UNKNOWN, *self.others]

    @property
    def size(self) -> int:
        """The number of tokens, the end included."""
        return 257 if self.unit == "bytes" else len(self.characters) + 1

    def encode(self, texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Texts as tokens (N, length), and a mask (N, length) that is true up to the end of each, the end included.

        A longer text is cut, and its end is not observed.
        """
        tokens = np.zeros((len(texts), length), np.uint8 if self.size <= 256 else np.uint16)
        mask = np.zeros(tokens.shape, np.bool_)
        unknown = self.characters.index(UNKNOWN) + 1
        numbers = {character: number for number, character in enumerate(self.characters, 1)}
        for row, text in enumerate(texts):
            if self.unit == "bytes":
                found = [byte + 1 for byte in text.encode()[:length]]
            else:
                found = [numbers.get(character, unknown) for character in text[:length]]
            tokens[row, : len(found)] = found
            mask[row, : len(found) + 1] = True
        return tokens, mask

    def decode(self, rows: np.ndarray) -> list[str]:
        """Tokens (N, T) as texts, each up to its end."""
        tokens = np.clip(np.rint(rows), 0, self.size - 1).astype(np.int64)
        ended = np.concatenate([tokens == 0, np.ones((len(tokens), 1), np.bool_)], axis=1).argmax(1)
        characters = ["", *self.characters]
        texts: list[str] = []
        for row, end in zip(tokens, ended, strict=True):
            if self.unit == "bytes":
                texts.append(bytes((row[:end] - 1).tolist()).decode("utf-8", "replace"))
            else:
                texts.append("".join(characters[token] for token in row[:end]))
        return texts


def is_text(spec: DataSpec) -> bool:
    """Whether rows are texts: flat rows of tokens with a vocabulary."""
    return len(spec.shape) == 1 and {"unit", "others"} <= set(spec.details) and spec.range is not None
