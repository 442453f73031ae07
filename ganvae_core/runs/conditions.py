"""Conditions as a person types them: a class, numbers, or values of columns."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import Codec
from ganvae_core.data.fields import rows_of_fields
from ganvae_core.errors import ConfigurationError, did_you_mean, setting
from ganvae_core.model import Model
from ganvae_core.types import DataSpec, Field

THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
"""What may be thousands, separated by commas, as well as a decimal comma."""


def condition_of(text: str, spec: DataSpec) -> Tensor:
    """(*K) a condition from the name of a class, with or without its column, or from numbers.

    Raises:
        ConfigurationError: there is no such class, or these are not as many numbers.
    """
    classes, label = spec.classes, spec.details.get("label")
    if not classes:
        try:
            return torch.tensor([float(part) for part in text.split(",")]).reshape(spec.condition or ())
        except (ValueError, RuntimeError):
            raise ConfigurationError(
                f"--condition: it takes numbers of shape {spec.condition}, like 0.5,1."
            ) from None
    if text not in classes and label and "=" in text:
        column, _, text = text.partition("=")
        if column != label:
            near = did_you_mean(column, [str(label)])
            raise ConfigurationError(
                f"--condition: column '{column}' is not a condition of this model.{near}", f"column: {label}"
            )
    if text not in classes:
        raise _no_value(text, str(label) if label else "", classes)
    return torch.eye(len(classes))[classes.index(text)]


def condition_of_columns(texts: Sequence[str], count: int, spec: DataSpec, model: Model, seed: int) -> Tensor:
    """(count, K) conditions of training rows that have the values asked for.

    Args:
        texts: each of them COLUMN=VALUE.
        count: of conditions.
        spec: of the model's data, with columns as its condition.
        model: which holds the training rows' conditions.
        seed: of what is drawn.

    Raises:
        ConfigurationError: there is no such column or value, or no training row has them together.
    """
    assert model.conditions is not None
    assert model.condition_weights is not None
    known, weights = model.conditions.cpu().clone(), model.condition_weights.cpu()
    columns = {field.name: field for field in spec.condition_fields or ()}
    rows = rows_of_fields(known.numpy(), spec.condition_fields or ())
    fits, wanted = torch.ones(len(known), dtype=torch.bool), torch.zeros(len(columns), dtype=torch.float64)
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or name not in columns:
            wrong = (
                f"column '{name}' is not a condition of this model"
                if sign
                else f"'{text}' is not COLUMN=VALUE"
            )
            raise ConfigurationError(
                f"--condition: {wrong}.{did_you_mean(name, columns)}", f"columns: {', '.join(columns)}"
            )
        field = columns[name]
        at = list(columns).index(name)
        wanted[at] = number_of(value, field)
        one = Codec(spec, torch.device("cpu")).condition(wanted[None])
        assert one is not None
        part = slice(field.start, field.start + field.width)
        warn_if_beyond(text, wanted[at].item(), rows[:, at], field)
        if field.choices == field.width:
            fits &= (known[:, part] == one[:, part]).all(1)
        else:
            known[:, part] = one[:, part]
    if not fits.any():
        raise ConfigurationError(
            f"--condition: no training row has {' and '.join(texts)}, so the model has not learned such rows."
        )
    generator = torch.Generator().manual_seed(seed)
    return known[torch.multinomial(weights * fits, count, replacement=True, generator=generator)]


def warn_if_beyond(text: str, value: float, rows: np.ndarray, field: Field) -> None:
    """Warn of a number or a date beyond those of the training rows (N,), which a model has not learned."""
    there = rows[~np.isnan(rows)]
    if field.categories or not len(there):
        return
    low, high = there.min(), there.max()
    around = max(field.step, 1e-4 * (high - low))  # conditions are kept in fp32
    if not low - around <= value <= high + around:
        shown = [
            str(np.datetime64(int(each), "s"))[:10] if field.kind == "date" else f"{each:g}"
            for each in (low, high)
        ]
        warnings.warn(
            f"the condition {text} is beyond training rows, which have {shown[0]} to {shown[1]}: samples are a guess",
            stacklevel=4,
        )


def number_of(text: str, field: Field) -> float:
    """A value as it is typed, as the number that a source has for it.

    Raises:
        ConfigurationError: the field has no such value.
    """
    if field.categories:
        if text in field.categories:
            return float(field.categories.index(text))
        raise _no_value(text, field.name, field.categories)
    if field.kind == "date" and field.format:
        with suppress(ValueError):  # as the table has it, or else as 2024-01-31
            text = datetime.strptime(text, field.format).isoformat()
    try:
        if field.kind == "date":
            return float(np.datetime64(text, "us").astype(np.int64)) / 1e6
        return float(text if THOUSANDS.fullmatch(text) else text.replace(",", "."))
    except ValueError:
        kind = "a date like 2024-01-31" if field.kind == "date" else "a number"
        raise ConfigurationError(f"--condition: {field.name}={text}: it takes {kind}.") from None


def unconditional(texts: Sequence[str], spec: DataSpec, config: Path | None) -> ConfigurationError:
    """That a model takes no condition, and the command that trains one on the same data that does.

    Args:
        texts: the condition as it was typed.
        spec: of the data as its source has it.
        config: the run's configuration; None where its data was given from Python.
    """
    message = "--condition: this model was trained without conditions."
    typed = [text.partition("=")[0] for text in texts if "=" in text]
    names, label = spec.columns or (), spec.details.get("label")
    for name in typed if names else ():
        if name not in (*names, label):
            near = did_you_mean(name, names)
            return ConfigurationError(
                f"{message} It learned no column '{name}'.{near}", f"columns: {', '.join(names)}"
            )
    columns = [name for name in names if name in typed]
    if spec.classes and columns in ([], [label]):
        wanted = "data.condition=true"
    elif names:
        wanted = setting("data.condition", columns or names[-1:])
    else:
        return ConfigurationError(message, "its data has no labels or columns that a model could be given")
    if config is None:
        return ConfigurationError(message, f"train another one on the same data with  {wanted}")
    command = f"ganvae run --config {shlex.quote(str(config))} {wanted}"
    return ConfigurationError(message, f"train a conditional one:  {command}")


def _no_value(text: str, column: str, known: Sequence[str]) -> ConfigurationError:
    """That a column, or labels without a column, have no such value."""
    shown, near = ", ".join(known[:20]) + (" …" if len(known) > 20 else ""), did_you_mean(text, known)
    if not column:
        return ConfigurationError(f"--condition: there is no class '{text}'.{near}", f"classes: {shown}")
    return ConfigurationError(
        f"--condition: column '{column}' has no value '{text}'.{near}", f"values: {shown}"
    )
