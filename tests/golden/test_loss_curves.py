"""The first steps of every recipe, against curves that are known to be good.

A refactoring leaves them as they are. After a change that is meant to change them (a recipe's settings, a loss), write
them anew and look at the difference:  pytest tests/golden --update-golden

Everything is computed in float64, where processors differ by 2e-13 after twenty steps (in float32 by up to 0.8 %).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toys import Watcher, recipes, small_settings

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
OWN = ("vae", "ae", "gan", "cgan", "infogan", "ssgan", "bigan", "dcgan", "table-vae", "table-gan")

Curves = dict[str, list[float]]

pytestmark = pytest.mark.usefixtures("float64")


def curves(recipe: str, **changes: Any) -> Curves:
    """Every logged number of the first steps of a recipe on the CPU, with batches of 64."""
    plugin, _, name = recipe.partition("/")
    settings: dict[str, Any] = {
        **small_settings(recipe),
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


@pytest.mark.parametrize("recipe", [recipe for recipe in recipes() if recipe.partition("/")[0] in OWN])
def test_the_first_steps_are_what_they_were(recipe: str, update_golden: bool) -> None:
    now = curves(recipe)
    if update_golden:
        content = {name: values for name, values in stored().items() if name in recipes()}
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
    assert golden.keys() == {recipe for recipe in recipes() if recipe.partition("/")[0] in OWN}
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
