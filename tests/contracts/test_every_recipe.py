"""What every recipe promises, and that any generator goes with any objective and any prior, or says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import images, narrow_settings, recipes, rows

import ganvae_core as gv
from ganvae_core.config.build import Builder, conditions_of
from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import nest
from ganvae_core.plugins import Kind, installed_plugins
from ganvae_core.runs.preparation import Preparation, prepare

CATALOGUE = installed_plugins()
TINY: dict[str, Any] = {
    "latent.shape": [4],
    "engine.batch_size": 8,
    "engine.steps": 2,
    "engine.device": "cpu",
}
CODES = [
    {"name": "normal", "latent_shape": [1]},
    {"name": "categorical", "latent_shape": [2]},
    {"name": "uniform", "latent_shape": [1]},
]
STAGES = [{"objective": "prior-likelihood", "steps": 1, "train": ["prior"]}]
STAGED = ("flow", "latent-flow", "vq-vae", "fsq-vae", "adversarial-ae", "table-vae/table-vae")
OF_IMAGES = (
    "dcgan/dcgan",
    "dcgan/small",
    "dcgan/photos",
    "cgan/small",
    "gan/small",
    "infogan/small",
    "ssgan/ssgan",
    "ssgan/small",
)
OF_TABLES: dict[str, dict[str, Any]] = {
    "table-vae/table-vae": {"observation": "auto"},
    "table-gan/table-gan": {"objective.packing": 1},
}
"""What recipes of tables need for data without columns, and for small batches."""
COLOURS = np.repeat(images(40, 9)[..., None], 3, -1)


def tiny(recipe: str, **changes: Any) -> dict[str, Any]:
    """Settings of a small run, with changes."""
    own: dict[str, Any] = narrow_settings(recipe)
    if recipe in ("infogan/infogan", "infogan/small"):
        own["prior.parts"] = CODES
    if recipe.removeprefix("ae/") in STAGED:
        own |= {"engine.steps": 1, "stages": STAGES}
    own |= OF_TABLES.get(recipe, {})
    return {**TINY, **own, **changes}


def prepared(recipe: str, data: np.ndarray, labels: np.ndarray | None = None, **changes: Any) -> Preparation:
    plugin, _, name = recipe.partition("/")
    layer = nest(list({**tiny(recipe), "data": "builtin/array", **changes}.items()))
    return prepare(configure(CATALOGUE, plugin, name, [layer]), CATALOGUE, gv.as_source(data, labels))


def attempted(make: Callable[[], Preparation]) -> Preparation | gv.ConfigurationError:
    try:
        return make()
    except gv.ConfigurationError as error:
        return error


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_says_why_its_settings_are_so(recipe: str) -> None:
    plugin, _, name = recipe.partition("/")
    spec, text = CATALOGUE.recipe(plugin, name)
    assert spec.summary
    assert text.startswith("# ")
    assert any(character.isdigit() for character in text.splitlines()[0] + text), (
        "a year or a number is a reason"
    )


def test_a_plugins_default_recipe_bears_its_name() -> None:
    for plugin in CATALOGUE.ready:
        if plugin.recipes:
            assert CATALOGUE.recipe(plugin.name)[0].name == plugin.name


@pytest.mark.usefixtures("drawn_losses")
@pytest.mark.parametrize("recipe", recipes())
def test_a_run_of_a_recipe_leaves_everything_that_a_run_holds(recipe: str, tmp_path: Path) -> None:
    plugin, _, name = recipe.partition("/")
    settings = {key: value for key, value in tiny(recipe).items() if key not in OF_TABLES.get(recipe, ())}
    settings |= {"engine.batch_size": 64, "engine.log_every": 1}
    run = gv.train(plugin, recipe=name, out=tmp_path / "run", overrides=settings)
    there = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert {
        "config.yaml", "plugins.lock.toml", "metrics.jsonl", "data.json", "losses.png", "samples/step-000002.png",
        "checkpoints/step-000002/model.safetensors", "checkpoints/step-000002/state.safetensors",
        "checkpoints/step-000002/manifest.json",
    } <= there  # fmt: skip
    assert ("reconstructions/step-000002.png" in there) == (
        run.model.encoder is not None and run.view.as_grid
    )
    assert not [path for path in there if Path(path).name.startswith(".")], "a draft was left"
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert all(np.isfinite(value) for value in record.values())
    low, high = run.spec.range or (-np.inf, np.inf)
    made = run.model.sample(6)
    assert made.shape == (6, *run.spec.shape)
    assert ((made >= low) & (made <= high)).all()
    assert gv.load(run.path).step == 2


DATA = {
    "colour images of odd size": COLOURS,
    "grey images": images(),
    "wide rows": images().reshape(40, 64),
    "a table": rows(),
    "points": rows()[:, :2],
    "a single column": rows()[:, :1],
    "volumes": images().reshape(40, 2, 2, 4, 4),
}


@pytest.mark.parametrize("recipe", recipes())
@pytest.mark.parametrize("kind", list(DATA))
@pytest.mark.parametrize("conditional", [False, True])
def test_a_recipe_trains_on_any_data_or_says_before_the_first_step_why_not(
    recipe: str, kind: str, conditional: bool
) -> None:
    x, labels = DATA[kind], np.arange(40) % 3
    preparation = attempted(lambda: prepared(recipe, x, labels, **{"data.condition": conditional}))
    if isinstance(preparation, gv.ConfigurationError):
        assert preparation.hints, preparation
        assert recipe in OF_IMAGES, f"only convolutions may refuse data: {preparation}"
        assert "images" not in kind
        return
    preparation.stages.fit_stage()
    engine = preparation.engine
    made = engine.model.sample(5)
    assert made.shape == (5, *engine.data.spec.shape)
    assert made.isfinite().all()
    assert (engine.model.conditions is not None) == conditional


@pytest.mark.parametrize("recipe", recipes())
def test_a_batch_of_a_few_rows_can_be_learned_from(recipe: str) -> None:
    preparation = prepared(recipe, images(5), np.arange(5) % 2)
    engine = preparation.engine
    assert engine.batch_size <= 5
    preparation.stages.fit_stage()
    assert engine.model.sample(2).isfinite().all()


def names(kind: Kind) -> list[str]:
    return [identity for identity, _, _ in CATALOGUE.components(kind)]


def component(kind: Kind, identity: str) -> Any:
    return CATALOGUE.load(CATALOGUE.component(kind, identity)[1])


# The options that a component cannot be without.
NEEDED: dict[str, dict[str, Any]] = {
    "builtin/composite": {
        "prior.parts": [{"name": "normal", "latent_shape": [3]}, {"name": "mixture", "latent_shape": [1]}]
    },
    "table-gan/ctgan": {"objective.packing": 1},
}
NETWORK = {"name": "mlp", "hidden": [4], "posterior": "dirac"}
SMALL: dict[str, dict[str, Any]] = {
    **{f"{kind}/dcgan/dcgan": {"filters": 2} for kind in ("generator", "encoder")},
    **{f"{kind}/builtin/resnet": {"filters": 2} for kind in ("generator", "encoder")},
    **{
        f"{kind}/builtin/{name}": {"hidden": [4]}
        for kind in ("generator", "encoder")
        for name in ("mlp", "auto")
    },
    "encoder/builtin/quantised": {"network": NETWORK, "codes": 5},
    "prior/builtin/latent-flow": {"width": 4, "layers": 1, "steps": 2},
    "prior/builtin/autoregressive": {"width": 4, "layers": 1, "heads": 1},
    "prior/builtin/flow": {"hidden": [4], "transforms": 1},
    "observation/builtin/pixelcnn": {"levels": 3, "width": 4, "layers": 1},
}
"""Options that make components small."""
POSTERIORS = ("normal", "dirac")
FACTORS: dict[str, list[Any]] = {
    **{kind: names(kind) for kind in ("prior", "generator", "observation", "encoder")},
    "posterior": list(POSTERIORS),
    "condition": [False, True],
}
USUAL = {
    "prior": "builtin/normal", "generator": "builtin/mlp", "observation": "builtin/auto",
    "encoder": "builtin/mlp", "posterior": "normal", "condition": False,
}  # fmt: skip
OTHERWISE: dict[str, dict[str, Any]] = {
    "ae/vq": {"prior": "builtin/autoregressive", "encoder": "builtin/quantised"},
    "builtin/prior-likelihood": {"prior": "builtin/mixture"},
    "table-gan/ctgan": {"generator": "table-gan/conditional-vector", "observation": "builtin/point"},
}
"""What an objective cannot do without."""
MIXED = 6
"""Combinations of all choices, drawn at random, beside those that differ in one choice from what is usual."""


def trained(objective: str, choice: dict[str, Any], source: gv.Source) -> bool:
    """Whether one step of a combination is trained; otherwise an error says what to take instead."""
    chosen: dict[str, Any] = {
        **TINY, "engine.steps": 1, "data": "builtin/array", "objective": objective, "critic": "mlp",
        "critic.hidden": [4], "data.condition": choice["condition"], "metrics": [],
        **NEEDED.get(choice["prior"], {}), **NEEDED.get(objective, {}),
    }  # fmt: skip
    for kind in ("prior", "generator", "observation", "encoder"):
        chosen[kind] = choice[kind]
        chosen |= {f"{kind}.{name}": value for name, value in SMALL.get(f"{kind}/{choice[kind]}", {}).items()}
    if choice["encoder"] != "builtin/quantised":
        chosen["encoder.posterior"] = choice["posterior"]
    layer = nest(list(chosen.items()))
    preparation = attempted(lambda: prepare(configure(CATALOGUE, "vae", None, [layer]), CATALOGUE, source))
    if isinstance(preparation, gv.ConfigurationError):
        assert preparation.hints, preparation
        return False
    preparation.stages.fit_stage()
    assert preparation.engine.model.sample(2).isfinite().all()
    return True


@pytest.mark.parametrize("objective", names("objective"))
def test_any_generator_goes_with_any_objective_prior_and_observation_or_says_why_not(objective: str) -> None:
    """Each choice of each kind with each objective, alone and in random combinations with the others."""
    source = gv.as_source(images(12), np.arange(12) % 3)
    usual = {**USUAL, **OTHERWISE.get(objective, {})}
    choices = [{**usual, kind: name} for kind, those in FACTORS.items() for name in those]
    random = np.random.default_rng(0)
    for _ in range(MIXED):
        choices.append({kind: those[random.integers(len(those))] for kind, those in FACTORS.items()})
    found = [trained(objective, choice, source) for choice in choices]
    assert trained(objective, usual, source)
    accepted = component("objective", objective).accepts
    for choice, went in zip(choices, found, strict=True):
        if went and {**choice, "prior": usual["prior"]} == usual:
            assert getattr(component("prior", choice["prior"]), "support", "real") in accepted


@pytest.mark.parametrize("recipe", recipes())
def test_what_a_model_has_seen_decides_how_often_a_condition_is_drawn(recipe: str) -> None:
    labels = np.array([0] * 30 + [1] * 10)
    made = prepared(recipe, images(), labels, **{"data.condition": True})
    conditions = conditions_of(made.data)
    assert conditions is not None
    assert torch.equal(conditions[0], torch.eye(2))
    assert conditions[1].tolist() == np.bincount(labels[made.data.training]).tolist()
    model = made.engine.model
    assert model.condition_weights is not None
    assert torch.equal(model.condition_weights, conditions[1])


@pytest.mark.parametrize("recipe", recipes())
def test_one_seed_builds_the_same_model_whatever_was_drawn_before(recipe: str) -> None:
    plugin, _, name = recipe.partition("/")
    made = configure(CATALOGUE, plugin, name, [nest(list(tiny(recipe).items()))])
    spec = gv.DataSpec((1, 8, 8), modality="image")
    first = Builder(made, CATALOGUE).objective(spec)
    torch.rand(3)
    again = Builder(made, CATALOGUE).objective(spec)
    assert all(
        torch.equal(one, other) for one, other in zip(first.parameters(), again.parameters(), strict=True)
    )
