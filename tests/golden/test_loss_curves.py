"""The first steps of every recipe of ganvae's own plugins, against curves that are known to be good.

A refactoring leaves them as they are. After a change that is meant to change them (a recipe's settings, a loss), write
them anew and look at the difference:  pytest tests/golden --update-golden

Everything is computed in float64, where processors differ by 2e-13 after twenty steps (in float32 by up to 0.8 %).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from toys import OF_OTHER_DATA, Watcher, recipes, small_settings

from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import nest
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.preparation import prepare

STEPS = 20
GOLDEN = Path(__file__).with_name("loss_curves.json")
TOLERANCE = 1e-6
"""Relative: 17 times the rounding of the log, which is float32 (2**-24), and five million times what processors differ.

Measured in docs/decisions/0023.
"""
OWN = (
    "vae",
    "ae",
    "gan",
    "cgan",
    "infogan",
    "ssgan",
    "bigan",
    "dcgan",
    "table-vae",
    "table-gan",
    *OF_OTHER_DATA,
)
FEW_FILTERS = {"generator.filters": 4, "critic.filters": 4}
SERIES: dict[str, Any] = {"data": {"name": "series-vae/series", "path": "windows.npy"}}
SOUNDS: dict[str, Any] = {"data.path": "sounds"}
ON_FILES: dict[str, dict[str, Any]] = {
    "text-vae/text-vae": {"data": {"name": "text", "path": "lines.txt"}, "generator.hidden": [8],
                          "encoder.filters": 4, "observation.width": 8},
    "series-vae/series-vae": {**SERIES, "generator.filters": 4, "encoder.filters": 4},
    "series-gan/series-gan": {**SERIES, **FEW_FILTERS},
    "audio-vae/audio-vae": {**SOUNDS, "generator.filters": 4, "encoder.filters": 4},
    "audio-gan/audio-gan": {**SOUNDS, **FEW_FILTERS},
    "audio-gan/waveform": {**SOUNDS, **FEW_FILTERS},
}  # fmt: skip
"""Settings of the recipes for texts, series and sounds: the files of ``files``, and small networks."""

Curves = dict[str, list[float]]

pytestmark = pytest.mark.usefixtures("float64", "files")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A text, windows of a series and sounds, in the current folder. Their values are exact on every processor."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "lines.txt").write_text("".join(f"line {n} of {n * n}\n" for n in range(80)), "utf-8")
    random = np.random.default_rng(0)
    np.save(folder / "windows.npy", random.integers(-8, 8, (80, 24, 2)).cumsum(axis=1) / 16)
    (folder / "sounds").mkdir()
    for number in range(80):
        wave = np.arange(600) % (10 + number) * 1000 - 8000
        soundfile.write(folder / "sounds" / f"{number}.wav", wave.astype(np.int16), 4000)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def covered() -> list[str]:
    """The recipes that have a curve: all of ganvae's own plugins."""
    return [recipe for recipe in [*recipes(), *ON_FILES] if recipe.partition("/")[0] in OWN]


def curves(recipe: str, **changes: Any) -> Curves:
    """Every logged number of the first steps of a recipe on the CPU, with batches of 64."""
    plugin, _, name = recipe.partition("/")
    settings: dict[str, Any] = {
        **small_settings(recipe),
        **ON_FILES.get(recipe, {}),
        "engine.steps": STEPS, "engine.batch_size": 64, "engine.log_every": 1, "engine.samples_every": 0,
        "engine.device": "cpu", "engine.precision": "fp32", "engine.micro_batch_size": None, "metrics": [],
        **changes,
    }  # fmt: skip
    catalogue = installed_plugins()
    configuration = configure(catalogue, plugin, name, [nest(list(settings.items()))])
    watcher = Watcher()
    preparation = prepare(configuration, catalogue)
    preparation.engine.callbacks.append(watcher)
    preparation.stages.fit_stage()
    found: Curves = {}
    for record in watcher.records:
        for key, value in record.items():
            if "/" in key:
                found.setdefault(key, []).append(float(f"{value:.8g}"))
    return found


def stored() -> dict[str, Curves]:
    return json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}


def differing(now: Curves, golden: Curves) -> list[str]:
    """The curves that are not the same, up to the tolerance."""
    assert now.keys() == golden.keys()
    return [
        key for key, curve in now.items() if curve != pytest.approx(golden[key], rel=TOLERANCE, abs=1e-12)
    ]


@pytest.mark.parametrize("recipe", covered())
def test_the_first_steps_are_what_they_were(recipe: str, update_golden: bool) -> None:
    now = curves(recipe)
    if update_golden:
        content = {name: values for name, values in stored().items() if name in covered()}
        lines = [
            f"{json.dumps(name)}: {_block(values)}"
            for name, values in sorted({**content, recipe: now}.items())
        ]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    golden = stored()
    assert recipe in golden, f"'{recipe}' has no curve yet:  pytest tests/golden --update-golden"
    for key in differing(now, golden[recipe]):
        assert now[key] == pytest.approx(golden[recipe][key], rel=TOLERANCE), key


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        ("vae/vae", {"objective.beta": 1.001}),
        ("gan/gan", {"optimizers.default.lr": 0.0005005}),
        ("cgan/cgan", {"objective.r1_weight": 0.1001}),
    ],
)
def test_a_setting_that_is_larger_by_a_thousandth_is_seen(recipe: str, change: dict[str, Any]) -> None:
    golden = stored()[recipe]
    losses = {key for key in golden if key.endswith("/loss")}
    assert losses <= set(differing(curves(recipe, **change), golden))


def test_every_stored_curve_is_a_recipes_and_goes_somewhere() -> None:
    golden = stored()
    assert golden.keys() == set(covered())
    for recipe, values in golden.items():
        losses = [curve for key, curve in values.items() if key.endswith("/loss")]
        assert losses, recipe
        assert all(len(curve) <= STEPS and len(set(curve)) > 1 for curve in losses), recipe


def _block(values: dict[str, list[float]]) -> str:
    """One line a curve, so that a change can be read."""
    return (
        "{\n"
        + ",\n".join(f"  {json.dumps(key)}: {json.dumps(curve)}" for key, curve in values.items())
        + "\n}"
    )
