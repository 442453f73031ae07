"""Whether windows that a model draws are apart from real ones: a two-sample test of a series.

Two kinds of figures compare windows with those of training: the Kolmogorov-Smirnov distance of each column, and the
mean difference of autocorrelations at lags of 1 to 12. Real windows are correlated with their neighbours, so the spread
of these distances is taken from the data: whole parts of the series, a tenth of them at a time, stand against the
rest. The statistic is the largest distance, in medians of those of real parts. Its critical value is the 95 %
quantile over 200 draws of real parts, and 200 others give the rate of false alarms. Of the windows, which overlap by
all but one hour, every twelfth is compared, and samples are as many as a tenth of these.

    export GANVAE_DATA_DIR=FOLDER        # holds series/ETTh1.csv.gz
    python benchmarks/series.py          # trains what results/series.json does not have yet
    python benchmarks/series.py --run series-vae=FOLDER   # measures a run that was trained before
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ganvae_sequence.series import Series

import ganvae_core as gv

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "series.json"
PLUGINS = ("series-vae", "series-gan")
LAGS, DRAWS, SHARE, LEVEL, PLACES, EVERY = 12, 200, 0.1, 0.05, 400, 12


def autocorrelations(windows: np.ndarray) -> np.ndarray:
    """(LAGS, C) of windows (N, T, C), each about its own mean, so that its level does not count."""
    windows = windows - windows.mean(1, keepdims=True)
    power = (windows**2).mean((0, 1))
    return np.stack(
        [(windows[:, :-lag] * windows[:, lag:]).mean((0, 1)) / power for lag in range(1, LAGS + 1)]
    )


def distances(windows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(C + 1,): of each column, and of autocorrelations."""
    found: list[float] = []
    for column in range(windows.shape[2]):
        one, other = np.sort(windows[..., column].ravel()), np.sort(others[..., column].ravel())
        at = np.quantile(other, np.linspace(0, 1, PLACES))
        shares = [np.searchsorted(each, at, "right") / len(each) for each in (one, other)]
        found.append(float(np.abs(shares[0] - shares[1]).max()))
    return np.array([*found, np.abs(autocorrelations(windows) - autocorrelations(others)).mean()])


def real_distances(x: np.ndarray, groups: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(DRAWS, C + 1) of parts of the series to the rest."""
    parts, found = np.unique(groups), []
    for _ in range(DRAWS):
        chosen = np.isin(groups, draw.choice(parts, round(SHARE * len(parts)), replace=False))
        found.append(distances(x[chosen], x[~chosen]))
    return np.array(found)


def altered(x: np.ndarray, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Real windows from all over the series with one thing changed: what the test is to find, and not to find."""
    chosen = x[draw.choice(len(x), round(SHARE * len(x)), replace=False)]
    rough = chosen + chosen.std() * draw.normal(size=chosen.shape)
    return {
        "real": chosen, "hours in random order": draw.permuted(chosen, axis=1), "with noise": rough / np.sqrt(2),
        "of half the deviation": chosen / 2,
    }  # fmt: skip


def trained(plugin: str, data: Path, folder: Path) -> Path:
    """A run of the plugin's recipe."""
    command = [sys.executable, "-m", "ganvae_core", "run", "--plugin", plugin, "--data", str(data)]
    subprocess.run([*command, "--out", str(folder / plugin)], check=True)
    return folder / plugin


def measured(runs: dict[str, Path], data: Path) -> dict[str, Any]:
    """The test of each run's samples."""
    source = Series(path=str(data))
    assert source.groups is not None
    units, columns = source.spec.units, source.spec.details["columns"]
    x = (source.rows(slice(None)).x - np.array(units.offset)) / np.array(units.scale)
    training = x[gv.split(source).training[::EVERY]]
    x, groups, draw = x[::EVERY], source.groups[::EVERY], np.random.default_rng(0)
    first, second = real_distances(x, groups, draw), real_distances(x, groups, draw)
    medians = np.median(first, 0)
    critical = float(np.quantile((first / medians).max(1), 1 - LEVEL))
    alarms = float(((second / medians).max(1) > critical).mean())
    names = [*columns, "autocorrelation"]
    results: dict[str, Any] = {"critical": critical, "level": LEVEL, "false_alarms": alarms, "windows": {}}
    results["medians"] = dict(zip(names, medians.tolist(), strict=True))
    for name, windows in altered(x, draw).items():
        statistic = float((distances(windows, training) / medians).max())
        results["windows"][name] = {"statistic": statistic, "within": statistic <= critical}
    for name, folder in runs.items():
        run = gv.load(folder)
        torch.manual_seed(0)
        with torch.no_grad():
            made = run.model.sample(round(SHARE * len(x)), noise=run.model.shown == "draw").numpy()
        found = distances(made, training)
        statistic = float((found / medians).max())
        results["windows"][name] = {
            "step": run.step, "statistic": statistic, "within": statistic <= critical,
            "distances": dict(zip(names, found.tolist(), strict=True)),
        }  # fmt: skip
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", action="append", default=[], metavar="NAME=FOLDER")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = Path(os.environ["GANVAE_DATA_DIR"]) / "series" / "ETTh1.csv.gz"
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: Path(place) for name, _, place in (each.partition("=") for each in given.run)}
        runs = runs or {plugin: trained(plugin, data, Path(folder)) for plugin in PLUGINS}
        results = measured(runs, data)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for name, found in results["windows"].items():
        print(
            f"{name}: {found['statistic']:.2f}, critical {results['critical']:.2f}, within: {found['within']}"
        )
    print(f"false alarms: {results['false_alarms']:.3f}")


if __name__ == "__main__":
    main()
