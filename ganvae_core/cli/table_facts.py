"""The columns of a table in words, for ``ganvae data``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ganvae_core.cli.output import four_digits, percent
from ganvae_core.errors import setting

if TYPE_CHECKING:
    import numpy as np

    from ganvae_core.interfaces import Source
    from ganvae_core.types import DataSpec, Field

HEADINGS = ("column", "values", "kind", "missing")
SHOWN_CATEGORIES, LONGEST = 3, 24
FEW_POINTS = 3


def column_facts(source: Source) -> list[dict[str, Any]]:
    """Each column of a table with its values, kind and share of missing cells, as JSON values.

    The columns that are the condition follow those that are learned, and then those that are left out.
    """
    import numpy as np

    rows, labels = source.rows(slice(None)), source.labels()
    spec = source.spec
    found = [_facts(field, rows.x[:, at]) for at, field in enumerate(spec.fields or ())]
    if spec.condition_fields and labels is not None:
        given = [_facts(field, labels[:, at]) for at, field in enumerate(spec.condition_fields)]
        found += [{**facts, "kind": f"{facts['kind']}, condition"} for facts in given]
    learned = {facts["column"] for facts in found}
    if spec.classes and labels is not None and spec.details.get("label") not in learned:
        counts = np.bincount(labels, minlength=len(spec.classes)) / len(labels)
        listed = _categories(spec.classes, counts)
        found.append(
            {"column": spec.details.get("label"), "values": listed, "kind": "category, label", "missing": 0.0}
        )
    found += [
        {"column": name, "values": why, "kind": f"{kind}, left out", "missing": 0.0}
        for name, kind, why in spec.details.get("left_out", ())
        if name != spec.details.get("label")
    ]
    order = list(spec.details.get("columns", ()))
    return sorted(
        found, key=lambda facts: order.index(facts["column"]) if facts["column"] in order else len(order)
    )


def column_rows(facts: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The cells of a printed table."""
    return [
        [
            str(one["column"]),
            one["values"],
            one["kind"],
            percent(one["missing"]) if one["missing"] else "",
        ]
        for one in facts
    ]


def seen(spec: DataSpec) -> str:
    """What a model is given, in words."""
    fields = spec.fields or ()
    ways: list[str] = []
    if any(field.kind in ("category", "flag") for field in fields):
        ways.append("categories one-hot")
    if any(len(field.knots) > FEW_POINTS for field in fields):
        ways.append("skewed numbers by quantiles")
    if any(len(field.modes) > 1 for field in fields):
        ways.append("numbers as modes")
    if any(field.spikes for field in fields):
        ways.append("frequent values as categories")
    if any(field.missing for field in fields):
        ways.append("missing cells learned")
    if any(field.kind == "date" for field in fields):
        ways.append("dates with their place in the week and the day")
    return f"{spec.shape[0]:,} number{'s' if spec.shape[0] != 1 else ''} a row" + (
        f": {', '.join(ways)}" if ways else ""
    )


def changes(spec: DataSpec, typed: str) -> list[str]:
    """What can be changed, each with a setting that can be pasted."""
    fields = spec.fields or ()
    numbers = [field.name for kind in ("whole", "number") for field in fields if field.kind == kind]
    names = [*numbers, *(field.name for field in fields)]
    settings = [setting(f"data.kinds.{names[0]}", "category"), setting("data.drop", names[-1:])]
    if any(field.missing for field in fields):
        settings.append("data.missing=fill")
    chosen = next((field.name for field in reversed(fields) if len(field.categories) > 1), None)
    lines = ["change it:  " + "     ".join(settings)]
    train = f"train:      ganvae run --plugin table-vae --data {typed}"
    if chosen:
        train += "     samples of one kind:  " + setting("data.condition", [chosen])
    return [*lines, train]


def _facts(field: Field, values: np.ndarray) -> dict[str, Any]:
    import numpy as np

    there = values[~np.isnan(values)]
    if field.categories:
        counts = np.bincount(there.astype(np.int64), minlength=len(field.categories)) / max(1, len(there))
        text = _categories(field.categories, counts)
        kind = field.kind if field.varies else "constant"
    else:
        text, kind = _numbers(field, there), field.kind
    return {"column": field.name, "values": text, "kind": kind, "missing": float(np.isnan(values).mean())}


def _categories(names: Sequence[str], shares: np.ndarray) -> str:
    order = sorted(range(len(names)), key=lambda at: -shares[at])
    if len(names) == 1:
        return names[0]
    shown = [
        f"{names[at][:LONGEST]}{'…' if len(names[at]) > LONGEST else ''} {percent(shares[at])}"
        for at in order[:SHOWN_CATEGORIES]
    ]
    return f"{len(names)}: " + " · ".join(shown) + (" …" if len(names) > SHOWN_CATEGORIES else "")


def _numbers(field: Field, there: np.ndarray) -> str:
    import numpy as np

    def written(value: float) -> str:
        if field.kind == "date":
            unit = "D" if field.step >= 86_400 else "s"
            return str(np.datetime64(round(value * 1e6), "us").astype(f"datetime64[{unit}]")).replace(
                "T", " "
            )
        return f"{value:,.{'0f' if field.step == 1 else '6g'}}".replace("-", "−")

    if not len(there):
        return "none"
    if field.kind == "constant":
        return written(there[0])
    extent = f"{written(there.min())} to {written(there.max())}"
    mean = written(there.mean()) if field.kind == "date" else four_digits(there.mean())
    shares = [f"{written(spike)} ({percent((there == spike).mean())})" for spike in field.spikes]
    spikes = f", often {', '.join(shares)}" if shares else ""
    return f"{mean} on average, {extent}{spikes}"
