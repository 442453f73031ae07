"""What a model makes comes back in the source's units, whatever these are."""

from __future__ import annotations

import numpy as np
import torch

from ganvae_core import as_source
from ganvae_core.data.codec import Codec, as_tensor, in_own_units
from ganvae_core.data.units import from_units


def there_and_back(raw: np.ndarray) -> np.ndarray:
    source = as_source(raw)
    x = Codec(source.spec, torch.device("cpu")).x(as_tensor(source.rows(slice(None)).x))
    return in_own_units(x.numpy(), source.spec)


def test_tables_come_back_to_float32_precision() -> None:
    raw = np.random.default_rng(0).normal(1e4, 3.0, (50, 4))
    np.testing.assert_allclose(there_and_back(raw), raw, rtol=0, atol=1e-5)


def test_images_come_back_to_the_bit() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8)).astype(np.uint8)
    np.testing.assert_array_equal(there_and_back(raw), raw)


def test_a_constant_column_comes_back_exactly_whatever_the_model_says() -> None:
    raw = np.random.default_rng(0).normal(size=(50, 3))
    raw[:, 1] = 0.1
    units = as_source(raw).spec.units
    made = from_units(np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32), units)
    assert (made[:, 1] == 0.1).all()
    assert made[:, 0].std() > 0


def test_values_that_no_source_value_stands_for_are_rounded_and_clipped() -> None:
    units = as_source(np.zeros((2, 1, 8, 8), np.uint8)).spec.units
    made = from_units(np.array([-0.5, 0.499, 0.5, 2.0], np.float32), units)
    np.testing.assert_array_equal(made, np.array([0, 127, 128, 255], np.uint8))
