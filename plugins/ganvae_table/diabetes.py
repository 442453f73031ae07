"""A small table that needs no download."""

from __future__ import annotations

from typing import Any

from ganvae_core import Source, as_source


def diabetes() -> Source:
    """442 people with diabetes: age, sex, body mass index, blood pressure, six serum values, and the progression.

    Efron, Hastie, Johnstone and Tibshirani, Least Angle Regression, 2004; shipped with scikit-learn.
    """
    import pyarrow as pa
    from sklearn.datasets import load_diabetes

    found: Any = load_diabetes(scaled=False)
    columns = {name: found.data[:, at] for at, name in enumerate(found.feature_names)}
    columns["sex"] = ["1" if value == 1 else "2" for value in columns["sex"]]
    return as_source(pa.table({**columns, "progression": found.target}))
