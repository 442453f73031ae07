"""How good samples of a table are: what a classifier learns from them, and how like the data they are.

Trains recipes on the census table "Adult" (32,561 rows) by the command line, draws as many rows as the data has, and
compares these with the data and with its test set (16,281 rows). Beside the recipes stand the real rows, and
independent columns: each column of the data shuffled by itself, which is the floor for everything but marginals.

    export GANVAE_DATA_DIR=FOLDER        # holds adult/adult.data.gz and adult/adult.test.gz
    python benchmarks/tables.py          # runs what results/tables.json does not have yet
    python benchmarks/tables.py --write-table
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.preprocessing import OrdinalEncoder

pc: Any = pyarrow.compute  # its functions are made when it is imported

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "tables.json"
README = HERE / "README.md"
LABEL, POSITIVE = "income", ">50K"
SEEDS = (0, 1, 2)
BINS = 10
SETTINGS: dict[str, list[str]] = {
    "table-vae": ["--plugin", "table-vae"],
}
"""What is trained, by the name in the results."""


def prepare(folder: Path) -> tuple[Path, Path]:
    """adult.csv and adult.test.csv, whose labels are spelled alike."""
    source = Path(os.environ["GANVAE_DATA_DIR"]) / "adult"
    folder.mkdir(parents=True, exist_ok=True)
    for name, ending in (("adult.data.gz", "adult.csv"), ("adult.test.gz", "adult.test.csv")):
        with gzip.open(source / name, "rt") as file:
            text = file.read()
        (folder / ending).write_text("\n".join(line.removesuffix(".") for line in text.splitlines()) + "\n")
    return folder / "adult.csv", folder / "adult.test.csv"


def read(path: Path) -> pa.Table:
    """A table whose text has no blanks around it, with missing cells for ``?``."""
    read = pyarrow.csv.read_csv(
        path,
        convert_options=pyarrow.csv.ConvertOptions(null_values=["", "?", " ?"], strings_can_be_null=True),
    )
    columns = [pc.utf8_trim_whitespace(c) if pa.types.is_string(c.type) else c for c in read.columns]
    return pa.Table.from_arrays(columns, [name.strip() for name in read.column_names])


def features(tables: list[pa.Table], names: list[str]) -> list[np.ndarray]:
    """Columns as numbers, categories numbered alike in all tables (NaN where missing), and which are categories."""
    encoded = []
    for name in names:
        columns = [table.column(name) for table in tables]
        if pa.types.is_string(columns[0].type):
            encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
            values = [np.array(column.to_pylist(), object)[:, None] for column in columns]
            encoder.fit(np.concatenate(values))
            encoded.append([encoder.transform(one)[:, 0] for one in values])
        else:
            encoded.append([column.cast(pa.float64()).to_numpy() for column in columns])
    return [np.stack([column[position] for column in encoded], 1) for position in range(len(tables))]


def classifier(table: pa.Table, names: list[str]) -> HistGradientBoostingClassifier:
    kinds = [pa.types.is_string(table.column(name).type) for name in names]
    make: Any = HistGradientBoostingClassifier
    return make(
        categorical_features=kinds, learning_rate=0.06, max_iter=300, max_leaf_nodes=24, l2_regularization=1.0,
        early_stopping=True, validation_fraction=0.1, random_state=0,
    )  # fmt: skip


def utility(training: pa.Table, test: pa.Table) -> dict[str, float]:
    """A gradient-boosted classifier that is trained on one table and tested on the other: macro F1, and AUC."""
    names = [name for name in test.column_names if name != LABEL]
    x, x_test = features([training, test], names)
    y, y_test = (np.array(table.column(LABEL).to_pylist()) == POSITIVE for table in (training, test))
    chance = classifier(training, names).fit(x, y).predict_proba(x_test)[:, 1]
    return {"f1": f1_score(y_test, chance > 0.5, average="macro"), "auc": roc_auc_score(y_test, chance)}


def likeness(real: pa.Table, made: pa.Table) -> dict[str, Any]:
    """Likeness of columns and of pairs of columns, in [0, 1].

    Of a column: 1 less the distance of Kolmogorov and Smirnov for numbers, or the total variation for categories. Of a
    pair: 1 less the total variation between the tables of their joint frequencies, numbers cut into ten bins at the
    quantiles of the real ones. Missing cells are a category.
    """
    names = real.column_names
    a, b = features([real, made], names)
    marginal, cells = [], []
    for at, name in enumerate(names):
        one, two = a[:, at], b[:, at]
        if pa.types.is_string(real.column(name).type):
            codes = [np.where(np.isnan(each), -1, each).astype(int) for each in (one, two)]
            marginal.append(1 - variation(*codes))
        else:
            grid = np.sort(np.concatenate([one, two]))
            levels = [np.searchsorted(np.sort(each), grid, side="right") / len(each) for each in (one, two)]
            marginal.append(1 - np.abs(levels[0] - levels[1]).max())
            edges = np.unique(np.quantile(one, np.linspace(0, 1, BINS + 1)))[1:-1]
            codes = [np.searchsorted(edges, each, side="right") for each in (one, two)]
        cells.append(codes)
    pairs = [
        1 - variation(*(1000 * cells[i][side] + cells[j][side] for side in range(2)))
        for i, j in itertools.combinations(range(len(names)), 2)
    ]
    lowest = int(np.argmin(marginal))
    return {
        "marginals": float(np.mean(marginal)),
        "pairs": float(np.mean(pairs)),
        "worst_marginal": [names[lowest], float(marginal[lowest])],
    }


def variation(a: np.ndarray, b: np.ndarray) -> float:
    """The total variation between the frequencies of two columns of whole numbers."""
    values, where = np.unique(np.concatenate([a, b]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(values)) / len(part) for part in np.split(where, [len(a)])]
    return float(np.abs(counts[0] - counts[1]).sum() / 2)


def two_samples(real: pa.Table, made: pa.Table) -> float:
    """The AUC by which a classifier tells made rows from real ones that it has not seen; 0.5 if it cannot."""
    names = real.column_names
    a, b = features([real, made], names)
    x = np.concatenate([a, b])
    y = np.repeat([0, 1], [len(a), len(b)])
    order = np.random.default_rng(0).permutation(len(x))
    training, test = np.split(order, [len(x) * 3 // 4])
    chance = classifier(real, names).fit(x[training], y[training]).predict_proba(x[test])[:, 1]
    return float(roc_auc_score(y[test], chance))


def details(real: pa.Table, made: pa.Table) -> dict[str, Any]:
    """What a person would look at: missing cells, spikes, bounds, categories, types, copies."""
    missing = {
        name: abs(made.column(name).null_count / len(made) - real.column(name).null_count / len(real))
        for name in real.column_names
    }
    unknown = sum(
        len(set(made.column(name).to_pylist()) - set(real.column(name).to_pylist()))
        for name in real.column_names
        if pa.types.is_string(real.column(name).type)
    )
    rows = set(zip(*(column.to_pylist() for column in real.columns), strict=True))
    copies = sum(row in rows for row in zip(*(column.to_pylist() for column in made.columns), strict=True))
    share = {name: float(np.mean(made.column(name).to_numpy() == value)) for name, value in
             (("capital-gain", 0), ("hours-per-week", 40))}  # fmt: skip
    ages = made.column("age").to_numpy()
    return {
        "missing_off_by": max(missing.values()),
        "unknown_categories": unknown,
        "types_kept": made.schema.types == real.schema.types,
        "capital_gain_0": share["capital-gain"],
        "hours_40": share["hours-per-week"],
        "ages": [int(ages.min()), int(ages.max())],
        "copies": copies / len(made),
    }


def measured(real: pa.Table, made: pa.Table, test: pa.Table) -> dict[str, Any]:
    return {
        **utility(made, test), **likeness(real, made), "two_samples": two_samples(real, made), **details(real, made)
    }  # fmt: skip


def trained(
    name: str, arguments: list[str], seed: int, data: Path, folder: Path, count: int
) -> tuple[pa.Table, float]:
    """Samples of a new run, and the CPU seconds that it took to train."""
    run, made = folder / f"{name}-{seed}", folder / f"{name}-{seed}.csv"
    ganvae = [sys.executable, "-m", "ganvae_core"]
    before = cpu_seconds()
    subprocess.run(
        [*ganvae, "run", *arguments, "--data", str(data), "--seed", str(seed), "--out", str(run), "--quiet"],
        check=True,
    )
    seconds = cpu_seconds() - before
    subprocess.run(
        [*ganvae, "sample", str(run), "-n", str(count), "--seed", str(seed), "-o", str(made)], check=True
    )
    return read(made), seconds


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def independent(real: pa.Table, seed: int) -> pa.Table:
    generator = np.random.default_rng(seed)
    return pa.table({name: column.take(pa.array(generator.permutation(len(real))))
                     for name, column in zip(real.column_names, real.columns, strict=True)})  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="one of the settings")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument(
        "--folder", type=Path, default=Path("build/tables"), help="where runs and samples are kept"
    )
    parser.add_argument("--write-table", action="store_true")
    parser.add_argument(
        "--try", dest="trial", nargs=argparse.REMAINDER, help="print what these arguments of run give"
    )
    options = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.write_table:
        write_table(results)
        return
    data, test_file = prepare(options.folder)
    real, test = read(data), read(test_file)
    if options.trial:
        made, seconds = trained(options.trial[0], options.trial[1:], 0, data, options.folder, len(real))
        print(json.dumps({"cpu_seconds": seconds, **measured(real, made, test)}, indent=1))
        return
    if "real" not in results:
        results["real"] = [utility(real, test)]
        results["independent columns"] = [measured(real, independent(real, 0), test)]
        store(results)
    for name, arguments in SETTINGS.items():
        for seed in SEEDS[: options.seeds]:
            done = results.setdefault(name, [])
            if len(done) > seed or options.only not in (None, name):
                continue
            made, seconds = trained(name, arguments, seed, data, options.folder, len(real))
            done.append({"seed": seed, "cpu_seconds": seconds, **measured(real, made, test)})
            store(results)


def store(results: dict[str, Any]) -> None:
    draft = RESULTS.with_suffix(".draft")
    draft.write_text(json.dumps(results, indent=1) + "\n")
    draft.replace(RESULTS)


def write_table(results: dict[str, Any]) -> None:
    """The table in README.md, from the results."""
    lines = ["| trained on | F1 | AUC | marginals | pairs | two samples | copies | CPU minutes | seeds |",
             "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, rows in results.items():
        if rows:
            keys = ("f1", "auc", "marginals", "pairs", "two_samples", "copies")
            cells = [f"{np.mean([row[key] for row in rows]):.3f}" if key in rows[0] else "" for key in keys]
            minutes = (
                f"{np.mean([row['cpu_seconds'] for row in rows]) / 60:.1f}"
                if "cpu_seconds" in rows[0]
                else ""
            )
            lines.append(f"| {name} | {' | '.join(cells)} | {minutes} | {len(rows)} |")
    before, rest = README.read_text().split("<!-- tables begin -->")
    _, after = rest.split("<!-- tables end -->")
    README.write_text(f"{before}<!-- tables begin -->\n" + "\n".join(lines) + f"\n<!-- tables end -->{after}")


if __name__ == "__main__":
    main()
