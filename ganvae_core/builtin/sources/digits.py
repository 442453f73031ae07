"""scikit-learn's handwritten digits: the embedded default."""

from __future__ import annotations

from typing import final

import numpy as np

from ganvae_core.builtin.sources.stored import StoredSource, encode_labels
from ganvae_core.types import DataSpec, Units


@final
class Digits(StoredSource):
    """1,797 real handwritten digits of 8 × 8 pixels with values 0 to 16, and their labels.

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998), as scikit-learn ships them.
    """

    def __init__(self) -> None:
        from sklearn.datasets import load_digits  # takes most of a second, so only here

        flat, labels = load_digits(return_X_y=True)
        x = flat.reshape(-1, 1, 8, 8).astype(np.uint8)
        spec = DataSpec((1, 8, 8), (0.0, 1.0), "image", None, len(x), units=Units((0.0,), (16.0,), "uint8"))
        super().__init__(x, spec, labels=encode_labels(labels, len(x), "the digits' labels"))
