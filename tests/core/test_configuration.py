"""Recipe, file and overrides become one checked configuration."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import toy_parts
import yaml
from toys import recipes

import ganvae_core as gv
from ganvae_core.config.build import Builder
from ganvae_core.config.configuration import Choice, Configuration, configure, stored, with_sampling_options
from ganvae_core.config.layers import nest, parse_overrides, parse_yaml
from ganvae_core.config.render import render, render_commented
from ganvae_core.config.settings import InitialWeights
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.resuming import differing_settings

CATALOGUE = toy_parts.catalogue()


def configured(*typed: str, plugin: str = "vae", layers: tuple[str, ...] = ()) -> Configuration:
    """A plugin's recipe with layers of YAML, then what was typed, over it."""
    files = [parse_yaml(text, f"layer {number}") for number, text in enumerate(layers)]
    return configure(CATALOGUE, plugin, None, [*files, parse_overrides(typed)])


def option(configuration: Configuration, slot: str, name: str) -> Any:
    return configuration.components[slot].options[name]


def refused(*typed: str, plugin: str = "vae", layers: tuple[str, ...] = ()) -> gv.GanvaeError:
    with pytest.raises(gv.ConfigurationError) as raised:
        configured(*typed, plugin=plugin, layers=layers)
    return raised.value


def test_a_run_with_settings_that_have_no_effect_any_more_is_read() -> None:
    made = configured()
    tree = made.as_dict()
    tree["engine"] |= {"on_nonfinite": "skip", "on_callback_error": "stop"}
    assert stored(CATALOGUE, tree) == made
    assert "has no option 'on_nonfinite'" in refused("engine.on_nonfinite=skip").message


def test_a_recipe_is_complete_with_full_ids_and_every_option() -> None:
    plain = configured()
    assert plain.components["objective"] == Choice(
        "vae/elbo", {"beta": 1.0, "free_bits": 0.0, "capacity": None, "reference": "prior"}
    )
    assert plain.components["generator"].id == "builtin/auto"
    assert configured("generator=mlp").components["generator"].options.keys() == {
        "hidden",
        "activation",
        "batch_norm",
        "initial_scale",
    }
    assert (plain.plugin, plain.recipe) == ("vae", "vae")
    assert [choice.id for choice in plain.lists["metrics"]] == ["builtin/elbo"]
    assert "critic" not in plain.components


def test_names_are_selected_before_options_apply_whatever_the_order_typed() -> None:
    typed = (
        "objective=minimax",
        "objective.critic_steps=2",
        "prior=uniform",
        "generator=dcgan",
        "generator.filters=8",
    )
    orders = [configured(*order, plugin="gan") for order in itertools.permutations(typed)]
    assert all(one == orders[0] for one in orders)
    assert orders[0].components["objective"].id == "gan/minimax"
    assert option(orders[0], "objective", "critic_steps") == 2
    assert orders[0].components["prior"].id == "builtin/uniform"
    assert orders[0].components["generator"] == Choice(
        "dcgan/dcgan", {"filters": 8, "stages": None, "dense": 0}
    )


def test_another_name_discards_the_options_of_the_one_before() -> None:
    layers = ("objective: {name: non-saturating, critic_steps: 5}",)
    assert option(configured(plugin="gan", layers=layers), "objective", "critic_steps") == 5
    changed = configured("objective=minimax", plugin="gan", layers=layers)
    assert (
        changed.components["objective"]
        == configured("objective=minimax", plugin="gan").components["objective"]
    )
    assert option(changed, "objective", "critic_steps") != 5
    there_and_back = (*layers, "objective: minimax", "objective: non-saturating")
    assert option(configured(plugin="gan", layers=there_and_back), "objective", "critic_steps") != 5


def test_what_another_name_could_have_taken_over_and_did_not_is_told_with_how_to_keep_it() -> None:
    """An infogan with another loss would otherwise be no infogan, in silence."""
    (told,) = configured("objective=hinge", plugin="infogan").notes
    assert told == (
        "objective=gan/hinge does not take over information_weight=0.1 of gan/non-saturating;"
        " to keep it:  objective.information_weight=0.1"
    )
    silent = {
        "said again, if otherwise": ["objective=hinge", "objective.information_weight=0"],
        "its options are all others": ["generator=dcgan"],
        "the same name": ["objective=non-saturating", "critic.dropout=0.1"],
    }
    for why, typed in silent.items():
        assert not configured(*typed, plugin="infogan").notes, why


@pytest.mark.parametrize("name", ["mlp", "builtin/mlp"])
def test_the_same_name_keeps_them(name: str) -> None:
    layers = ("generator: {name: mlp, hidden: [7], activation: tanh}",)
    kept = configured(f"generator={name}", "generator.activation=gelu", layers=layers)
    assert (option(kept, "generator", "hidden"), option(kept, "generator", "activation")) == ((7,), "gelu")


def test_null_removes_what_a_run_can_be_without() -> None:
    assert "encoder" not in configured("encoder=null").components
    assert "encoder" not in configured(layers=("encoder: null",)).components
    assert "encoder" not in configured(layers=("encoder: ~",)).components
    assert "critic" not in configured("critic=null", plugin="gan").components
    assert configured("metrics=null").lists["metrics"] == ()
    assert "every run needs one" in refused("generator=null").message
    again = configured("encoder=mlp", layers=("encoder: {name: mlp, hidden: [3]}", "encoder: null"))
    assert option(again, "encoder", "hidden") == (400,), "what was removed is gone with its options"
    assert refused("encoder.hidden=[3]", layers=("encoder: null",)).message.startswith(
        "encoder.hidden: this configuration has no encoder"
    )


def test_later_layers_win_and_lists_are_replaced() -> None:
    layers = ("engine: {steps: 7, seed: 3}", "engine: {steps: 8}\nmetrics: [elbo, reconstruction]")
    made = configured("engine.seed=4", layers=layers)
    assert (made.engine.steps, made.engine.seed, made.engine.batch_size) == (8, 4, 128)
    assert [choice.id for choice in made.lists["metrics"]] == ["builtin/elbo", "builtin/reconstruction"]
    assert configured("metrics=[]", layers=layers).lists["metrics"] == ()
    assert [choice.id for choice in configured("metrics=reconstruction").lists["metrics"]] == [
        "builtin/reconstruction"
    ]
    one = configured("metrics=[reconstruction, elbo]")
    assert [choice.id for choice in one.lists["metrics"]] == ["builtin/reconstruction", "builtin/elbo"]


def test_text_stays_literal_down_to_the_component() -> None:
    for typed in ("no", "007", "1e-3", "null"):
        made = configured(f"callbacks=[{{name: typed, text: {typed}}}]")
        assert made.lists["callbacks"][0].options["text"] == typed


@pytest.mark.parametrize("name", ["[y].csv", "{x}.csv"])
def test_a_file_may_be_called_like_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("a,b\n1,2\n")
    assert configured(f"data={name}").components["data"].options["path"] == name


REFUSED: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a key of the engine": (("steps=10",), "there is no setting 'steps'. Did you mean 'engine.steps'?", "there are:"),
    "an unknown key": (("objektive=elbo",), "there is no setting 'objektive'. Did you mean 'objective'?", "there are:"),
    "an unknown option": (
        ("objective.bta=4",),
        "objective.bta: 'vae/elbo' has no option 'bta'. Did you mean 'beta' (float or a schedule, now 1.0)?",
        "",
    ),
    "an option of another component": (
        ("objective.critic_steps=2",), "objective.critic_steps: 'vae/elbo' has no option 'critic_steps'.", "it has:",
    ),
    "an option of what has none": (("prior.scale=2",), "prior.scale: 'builtin/normal' has no option", "no options"),
    "an unknown component": (("prior=normel",), "there is no prior 'normel'. Did you mean 'normal'?", "builtin/normal"),
    "a component of another kind": (("prior=elbo",), "there is no prior 'elbo'.", "priors:"),
    "an unknown engine setting": (
        ("engine.step=5",), "engine.step: 'engine' has no option 'step'. Did you mean 'steps' (int, now", "",
    ),
    "an unknown latent setting": (("latent.shpe=5",), "Did you mean 'shape'", ""),
    "an unknown optimizer setting": (("optimizers.default.lrr=5",), "Did you mean 'lr' (float, now", ""),
    "an unknown data option": (("data.held_ot=0.1",), "'builtin/digits' has no option 'held_ot'", ""),
    "a wrong type": (("objective.beta=much",), "objective.beta: 'much' is not possible here", ""),
    "a negative number of steps": (("engine.steps=-5",), "engine.steps: -5 is not possible", ""),
    "an empty latent shape": (("latent.shape=[]",), "latent.shape: [] is not possible", ""),
    "a latent size of 0": (("latent.shape=[4, 0]",), "latent.shape: [4, 0] is not possible", ""),
    "settings that are no settings": (("engine=fast",), "engine: it takes settings by name, like engine.steps", ""),
    "optimizers that are none": (("optimizers=adam",), "optimizers: it takes settings by name", ""),
    "an unknown optimizer": (
        ("optimizers.default.name=adamm",), "Did you mean 'adam'?", "builtin/adam, builtin/adamw, builtin/rmsprop",
    ),
    "options for a critic that is not there": (
        ("critic.hidden=[3]",), "critic.hidden: this configuration has no critic", "critic=NAME",
    ),
    "an option that must be given": (
        ("callbacks=[required]",), "callbacks[0].target must be given: 'toy/required' needs it", "",
    ),
    "a list item without a name": (("callbacks=[{text: a}]",), "callbacks[0]: a callback is given by its name", ""),
    "an unknown list item": (("callbacks=[typd]",), "there is no callback 'typd'. Did you mean 'typed'?", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", list(REFUSED))
def test_what_cannot_be_meant_is_refused_with_what_to_do(what: str) -> None:
    typed, message, hint = REFUSED[what]
    error = refused(*typed)
    assert message in error.message
    assert any(hint in line for line in error.hints) or not hint


def test_a_short_name_in_a_recipe_is_its_own_plugins_or_the_builtin_one() -> None:
    assert configured(plugin="dcgan").components["generator"].id == "dcgan/dcgan"
    assert configured(plugin="gan").components["generator"].id == "builtin/mlp"
    assert configured("encoder=dcgan", "generator=dcgan").components["encoder"].id == "dcgan/dcgan"


def test_optimizers_inherit_from_the_default_what_they_do_not_say() -> None:
    made = configured(
        "optimizers.critic.lr=1", "optimizers.default.betas=[0.1, 0.2]", plugin="gan"
    ).optimizers
    assert made.keys() == {"default", "critic"}
    assert (made["critic"].options["lr"], made["critic"].options["betas"]) == (1.0, (0.1, 0.2))
    assert made["default"].options["lr"] != 1.0
    removed = configured("optimizers.critic=null", plugin="gan", layers=("optimizers: {critic: {lr: 1}}",))
    assert removed.optimizers.keys() == {"default"}


def test_another_algorithm_keeps_what_all_optimizers_share() -> None:
    layers = (
        "optimizers: {default: {name: adam, lr: 2e-4, betas: [0.5, 0.9], warmup_samples: 7, schedule: cosine}}",
    )
    changed = configured(
        "optimizers.critic=sgd", "optimizers.critic.momentum=0.5", plugin="gan", layers=layers
    )
    cosine = Choice("builtin/cosine", {"from": 1.0, "to": 0.0, "samples": None})
    shared = {"lr": 2e-4, "schedule": cosine, "warmup_samples": 7, "clip_norm": None}
    critic = Choice("builtin/sgd", {"momentum": 0.5, "weight_decay": 0.0, **shared})
    assert changed.optimizers["critic"] == critic
    assert not changed.notes
    other = configured("optimizers.default=adamw", plugin="gan", layers=layers)
    assert other.optimizers["default"].options["betas"] == (0.9, 0.999)
    assert other.optimizers["default"].options["lr"] == 2e-4
    assert "to keep it:  optimizers.default.betas=[0.5, 0.9]" in other.notes[0]


def test_optimizers_are_built_with_their_schedules() -> None:
    typed = (
        "optimizers.default={name: sgd, lr: 0.5, momentum: 0.9}", "optimizers.default.warmup_samples=10",
        "optimizers.critic.schedule={name: warm-up, samples: 100, then: {name: step, samples: 50, factor: 0.5}}",
    )  # fmt: skip
    made = configured(*typed, plugin="gan")
    assert stored(CATALOGUE, parse_yaml(render(made), "config.yaml")) == made
    built = Builder(made, CATALOGUE).optimizers()
    assert isinstance(built["critic"].optimizer, gv.SGD)
    assert (built["critic"].optimizer.momentum, built["critic"].lr, built["critic"].warmup_samples) == (
        0.9,
        0.5,
        10,
    )
    assert built["default"].schedule is None
    schedule = built["critic"].schedule
    assert isinstance(schedule, gv.schedule.WarmUp)
    assert [schedule(seen) for seen in (0, 49, 50, 99, 100)] == [0.01, 0.5, 0.5 * 0.51, 0.5, 0.25]


def test_settings_of_optimizers_out_of_range_are_refused_before_anything_is_built() -> None:
    assert "lr: -1.0 is not possible" in refused("optimizers.default.lr=-1").message
    assert "schedule 'cosin'" in refused("optimizers.default.schedule=cosin").message


STAGES = """
stages:
  - {objective: non-saturating, critic: {name: mlp, hidden: [3]}, steps: 50, train: [generator]}
  - objective: {name: elbo, beta: 2}
    optimizers: {default: {name: sgd, lr: 0.1}, critic: {clip_norm: 1}}
"""


def test_stages_are_read_complete_and_come_back_from_the_file() -> None:
    made = configured("train=[prior, encoder]", "from=runs/one", "from.step=best", layers=(STAGES,))
    first, second = made.stages
    assert (first.objective.id, first.steps, first.train) == ("gan/non-saturating", 50, ("generator",))
    assert first.critic is not None
    assert first.critic.options["hidden"] == (3,)
    assert first.optimizers["default"].options["lr"] == 1e-3
    assert (second.objective, second.steps, second.train) == (
        Choice("vae/elbo", {"beta": 2.0, "free_bits": 0.0, "capacity": None, "reference": "prior"}),
        0,
        None,
    )
    assert second.optimizers["critic"].id == "builtin/sgd"
    assert second.optimizers["critic"].options["clip_norm"] == 1.0
    assert made.train == ("prior", "encoder")
    assert made.initial == InitialWeights("runs/one", "best")
    for text in (render(made), render_commented(made, CATALOGUE)):
        assert stored(CATALOGUE, parse_yaml(text, "config.yaml")) == made
    assert "gan" in made.plugins
    plain = configured("stages=null", "train=null", "from=null", layers=(STAGES,))
    assert (plain.stages, plain.train, plain.initial) == ((), None, None)
    assert configured("from.step=30", layers=("from: runs/one",)).initial == InitialWeights("runs/one", 30)
    assert configured("from=runs/two", layers=("from: {path: runs/one, step: 3}",)).initial == InitialWeights(
        "runs/two"
    )


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            "stages=[{steps: 3}]",
            "stages[0]: a stage is given by its objective, like {objective: NAME, steps: 1000}.",
        ),
        ("stages=[elbo]", "stages[0]: a stage is given by its objective"),
        (
            "stages=[{objective: elbo, step: 3}]",
            "stages[0].step: 'stage' has no option 'step'. Did you mean 'steps'",
        ),
        ("stages=[{objective: elbo, steps: -3}]", "stages: -3 steps are not possible"),
        (
            "stages=[{objective: {name: elbo, bta: 3}}]",
            "stages[0].objective.bta: 'vae/elbo' has no option 'bta'",
        ),
        ("stages=[{objective: elbo, train: [head]}]", "stages[0].train[0]: 'head' is not possible here"),
        (
            "stages=[{objective: elbo, optimizers: {a: {lr: x}}}]",
            "stages[0].optimizers.a.lr: 'x' is not possible",
        ),
        ("train=[genrator]", "train[0]: 'genrator' is not possible here. Did you mean 'generator'?"),
        ("from.step=3", "from.path must be given"),
        (
            "from={path: x, step: soon}",
            "from.step: 'soon' is not possible here: it must be a whole number or best",
        ),
    ],
)
def test_stages_that_cannot_be_meant_are_refused_by_their_place(typed: str, message: str) -> None:
    assert message in refused(typed).message


def test_an_objective_of_a_stage_is_built_on_the_model_of_the_run() -> None:
    made = configured(layers=(STAGES,))
    builder, spec = Builder(made, CATALOGUE), gv.DataSpec((20,))
    model = builder.objective(spec).model
    stage = builder.stage_objective(0, model, spec)
    assert stage.model is model
    assert type(stage).__name__ == "NonSaturating"
    assert builder.optimizers(made.stages[1])["default"].lr == 0.1

    def weights() -> list[float]:
        objective = builder.stage_objective(0, model, spec)
        return [
            value
            for parameter in objective.critic.parameters()
            for value in parameter.flatten().tolist()  # pyright: ignore[reportAttributeAccessIssue]
        ]  # pyright: ignore

    assert weights() == weights()


def test_a_component_in_an_option_is_read_like_any_other() -> None:
    by_hand = {
        "prior": {
            "name": "toy/composite",
            "parts": ["normal", {"name": "uniform"}],
            "base": "normal",
            "scale": 2,
        }
    }
    expected = Choice(
        "toy/composite",
        {
            "parts": [Choice("builtin/normal"), Choice("builtin/uniform")],
            "base": Choice("builtin/normal"),
            "scale": 2.0,
        },
    )
    typed = (
        "prior=toy/composite",
        "prior.parts=[normal, {name: uniform}]",
        "prior.base=normal",
        "prior.scale=2",
    )
    file = "prior:\n  name: toy/composite\n  parts: [normal, {name: uniform}]\n  base: {name: normal}\n  scale: 2\n"
    assert configure(CATALOGUE, "vae", None, [by_hand]).components["prior"] == expected
    assert configured(*typed).components["prior"] == expected
    assert configured(layers=(file,)).components["prior"] == expected
    assert (
        option(configured("prior=toy/composite", "prior.parts=[normal]", "prior.base=null"), "prior", "base")
        is None
    )
    assert option(configured("prior=toy/composite", "prior.parts=normal"), "prior", "parts") == [
        Choice("builtin/normal")
    ]
    one = configured(
        "prior=toy/composite", "prior.parts=[normal]", "prior.base={name: truncated-normal, bound: 3}"
    )
    assert option(one, "prior", "base") == Choice("builtin/truncated-normal", {"bound": 3.0})
    assert "prior.parts must be given" in refused("prior=toy/composite").message
    assert "there is no prior 'normel'" in refused("prior=toy/composite", "prior.parts=[normel]").message


def test_a_component_in_an_option_is_built_and_comes_back_from_the_file() -> None:
    made = configured("prior=toy/composite", "prior.parts=[normal, uniform]", "prior.scale=2", plugin="gan")
    assert stored(CATALOGUE, parse_yaml(render(made), "config.yaml")) == made
    prior = Builder(made, CATALOGUE).model(gv.DataSpec((20,))).prior
    assert [type(part) for part in prior.parts] == [gv.StandardNormal, gv.Uniform]  # pyright: ignore
    assert prior.sample(3).shape == (3, *made.latent.shape)


SIDE_BY_SIDE = (
    "prior=builtin/composite",
    "prior.parts=[{name: normal, latent_shape: [2, 3]}, {name: truncated-normal, bound: 3, latent_shape: [4]},"
    " {name: toy/composite, latent_shape: [5], parts: [normal, {name: uniform, latent_shape: [5]}]}]",
    "latent.shape=[15]",
)


def test_a_component_in_an_option_may_be_given_a_latent_shape_of_its_own() -> None:
    made = configured(*SIDE_BY_SIDE, plugin="gan")
    inner = {"parts": [Choice("builtin/normal"), Choice("builtin/uniform", {}, {"latent_shape": (5,)})],
             "base": None, "scale": 1.0}  # fmt: skip
    assert option(made, "prior", "parts") == [
        Choice("builtin/normal", {}, {"latent_shape": (2, 3)}),
        Choice("builtin/truncated-normal", {"bound": 3.0}, {"latent_shape": (4,)}),
        Choice("toy/composite", inner, {"latent_shape": (5,)}),
    ]
    for text in (render(made), render_commented(made, CATALOGUE)):
        assert stored(CATALOGUE, parse_yaml(text, "config.yaml")) == made
    assert "    - {name: builtin/normal, latent_shape: [2, 3]}\n" in render_commented(made, CATALOGUE)
    prior = Builder(made, CATALOGUE).model(gv.DataSpec((20,))).prior
    assert isinstance(prior, gv.Composite)
    assert prior.sizes == [6, 4, 5]
    innermost = prior.get_submodule("parts.2.parts.0")
    assert innermost.latent_shape == (5,), "a part that says nothing has the shape of what it is part of"
    assert prior.sample(3).shape == (3, 15)


def test_a_latent_shape_of_its_own_can_be_given_from_python() -> None:
    parts = [{"name": "normal", "latent_shape": [2]}, {"name": "categorical", "latent_shape": (3,)}]
    made = from_python({"prior": {"name": "builtin/composite", "parts": parts}, "latent.shape": [5]})
    assert [part.facts["latent_shape"] for part in option(made, "prior", "parts")] == [(2,), (3,)]


@pytest.mark.parametrize(
    ("part", "message", "hint"),
    [
        (
            "normal",
            "prior.parts[1].latent_shape must be given: each prior there has a shape of its own.",
            "{name: normal, latent_shape: [8]}",
        ),
        (
            "{name: normal, latnt_shape: [2]}",
            "has no option 'latnt_shape'. Did you mean 'latent_shape' (a list of int)?",
            "",
        ),
        (
            "{name: truncated-normal, latent_shape: [2], bond: 1}",
            "prior.parts[1].bond: 'builtin/truncated-normal' has no option 'bond'. Did you mean 'bound'",
            "",
        ),
        ("{name: normal, latent_shape: [0]}", "prior.parts[1].latent_shape: [0] is not possible", ""),
        ("{name: normal, latent_shape: []}", "prior.parts[1].latent_shape: [] is not possible", ""),
        (
            "{name: normal, latent_shape: [many]}",
            "prior.parts[1].latent_shape[0]: 'many' is not possible",
            "",
        ),
        ("{name: normel, latent_shape: [2]}", "there is no prior 'normel'. Did you mean 'normal'?", ""),
    ],
)
def test_a_part_that_cannot_be_meant_is_refused_by_its_place(part: str, message: str, hint: str) -> None:
    typed = f"prior.parts=[{{name: uniform, latent_shape: [3]}}, {part}]"
    error = refused("prior=builtin/composite", typed, plugin="gan")
    assert message in error.message
    assert any(hint in line for line in error.hints) or not hint


def test_a_latent_shape_is_for_what_has_one_and_the_runs_own_is_elsewhere() -> None:
    assert "latent.shape=[16]" in refused("prior.latent_shape=[3]").hints[0]
    assert "has no option 'latent_shape'" in refused("callbacks=[{name: typed, latent_shape: [3]}]").message
    assert "(a list of priors)" in refused("prior=builtin/composite").message


def test_sizes_of_parts_that_do_not_add_up_say_what_to_set() -> None:
    made = configured(*SIDE_BY_SIDE[:2], "latent.shape=[16]", plugin="gan")
    with pytest.raises(gv.ConfigurationError, match=r"6 \+ 4 \+ 5 = 15 values.*is \[16\]") as raised:
        Builder(made, CATALOGUE).model(gv.DataSpec((20,)))
    assert "latent.shape=[15]" in raised.value.hints[0]


SUM = (
    "objective=toy/sum", "objective.parts=[elbo, {name: autoencoder}]", "objective.from=7", "objective.other=elbo",
    "objective.judge={name: mlp, hidden: [3]}", "objective.watched=elbo",
    "objective.weight={name: linear, from: 0, to: 1, samples: 10}",
)  # fmt: skip


def test_objectives_metrics_schedules_and_a_second_critic_are_options_too() -> None:
    made = configured(*SUM)
    assert option(made, "objective", "from") == 7
    assert option(made, "objective", "weight").id == "builtin/linear"
    assert option(configured(*SUM[:-1], "objective.weight=0.5"), "objective", "weight") == 0.5
    assert stored(CATALOGUE, parse_yaml(render(made), "config.yaml")) == made
    built: Any = Builder(made, CATALOGUE).objective(gv.DataSpec((20,)))
    assert built.same
    assert built.from_ == 7
    assert [part.model for part in (*built.parts, built.other)] == [built.model] * 3
    assert isinstance(built.judge, gv.MLPCritic)
    assert isinstance(built.watched, gv.Metric)
    assert [built.weight(seen) for seen in (0, 5, 20)] == [0.0, 0.5, 1.0]
    assert built.model.encoder is not None, "an objective inside needs it"
    message = refused(*SUM[:-1], "objective.weight=much").message
    assert message == "objective.weight: 'much' is not possible here: it must be a number or a schedule."
    endless = Builder(configured(*SUM[:-1], "objective.weight=cosine"), CATALOGUE)
    with pytest.raises(gv.ConfigurationError, match="the schedule 'cosine' has no samples"):
        endless.objective(gv.DataSpec((20,)))


def test_what_an_objective_inside_another_accepts_is_checked_too() -> None:
    made = configured("objective=toy/sum", "objective.parts=[elbo]", "prior=uniform")
    with pytest.raises(
        gv.ConfigurationError, match="objective 'vae/elbo' cannot work with the prior 'builtin/uniform'"
    ):
        Builder(made, CATALOGUE).objective(gv.DataSpec((20,)))


def test_an_encoder_may_ask_for_generator_and_prior_and_a_prior_for_the_encoder() -> None:
    spec = gv.DataSpec((20,))
    model: Any = Builder(configured("encoder=inverse", plugin="ae", layers=NO_FIT), CATALOGUE).model(spec)
    assert model.encoder.given == [model.generator, model.prior]
    model = Builder(configured("prior=encoded"), CATALOGUE).model(spec)
    assert model.prior.encoders == [model.encoder]
    circle = configured("prior=encoded", "encoder=inverse", plugin="ae", layers=NO_FIT)
    with pytest.raises(gv.ConfigurationError) as raised:
        Builder(circle, CATALOGUE).model(spec)
    assert raised.value.message.startswith("the encoder and the prior require each other")


NO_FIT = ("prior: normal",)


def test_a_fact_that_is_not_given_is_said_with_what_is() -> None:
    made = configured("encoder=inverse")
    with pytest.raises(
        gv.ConfigurationError, match="asks for 'generator', which an encoder is not given"
    ) as raised:
        Builder(made, CATALOGUE).component(
            made.components["encoder"], {"latent_shape": (3,), "encoder": None}
        )
    assert raised.value.hints == ("an encoder may ask for: latent_shape",)


def test_the_latent_shape_can_follow_the_data() -> None:
    made = configured("latent.shape=data")
    assert made.latent.shape == "data"
    assert Builder(made, CATALOGUE).model(gv.DataSpec((2, 3))).prior.sample(4).shape == (4, 2, 3)


def test_only_sampling_options_may_change_after_training() -> None:
    made = configured("encoder=inverse")
    changed = with_sampling_options(CATALOGUE, made, parse_overrides(["encoder.steps=50"]))
    assert option(changed, "encoder", "steps") == 50
    assert changed.components["generator"] == made.components["generator"]
    for typed in ("generator.hidden=[3]", "encoder=mlp", "engine.steps=3"):
        with pytest.raises(gv.ConfigurationError, match="cannot be changed after training") as raised:
            with_sampling_options(CATALOGUE, made, parse_overrides([typed]))
        assert raised.value.hints == ("these can be changed: encoder.steps",)
    later = with_sampling_options(CATALOGUE, made, parse_overrides(["encoder.steps=50"]))
    assert differing_settings(made, later, CATALOGUE) == []


EXTREME = (
    "engine.micro_batch_size=3", "engine.channels_last=true", "engine.ema_half_life_samples=1e-8",
    "optimizers.default.eps=1e-30", "optimizers.default.clip_norm=1e30", "optimizers.second.lr=1e5",
    "data.condition=yes", "data.held_out=0.25", "latent.shape=[2, 3]", "generator=mlp", "generator.hidden=[]",
    "callbacks=[{name: typed, text: 'no', path: '- a: b # c', names: ['1', yes, ''], pair: [1, 2], sizes: []}]",
)  # fmt: skip


@pytest.mark.parametrize("recipe", recipes())
@pytest.mark.parametrize("typed", [(), EXTREME], ids=["as it is", "changed"])
def test_config_yaml_gives_the_same_configuration_again(recipe: str, typed: tuple[str, ...]) -> None:
    plugin, _, name = recipe.partition("/")
    made = configure(CATALOGUE, plugin, name, [parse_overrides(typed)])
    assert stored(CATALOGUE, parse_yaml(render(made), "config.yaml")) == made
    assert stored(CATALOGUE, parse_yaml(render_commented(made, CATALOGUE), "config.yaml")) == made
    assert yaml.safe_load(render(made)) == made.as_dict()


def test_config_yaml_names_nothing_by_its_path_in_python() -> None:
    for recipe in recipes():
        plugin, _, name = recipe.partition("/")
        assert "_core" not in render(configure(installed_plugins(), plugin, name, []))


def from_python(overrides: Mapping[str, Any]) -> Configuration:
    return configure(CATALOGUE, "vae", None, [nest(list(overrides.items()))])


def test_overrides_from_python_are_values_with_their_types() -> None:
    made = from_python(
        {
            "objective.beta": 4,
            "generator": {"name": "mlp", "hidden": [3, 4]},
            "generator.activation": "tanh",
            "encoder": None,
            "engine": {"steps": 7},
            "latent.shape": (2, 3),
            "metrics": ["elbo"],
            "callbacks": [{"name": "typed", "text": "null", "path": None}],
        }
    )
    assert option(made, "objective", "beta") == 4.0
    assert made.components["generator"].options == {
        "hidden": (3, 4),
        "activation": "tanh",
        "batch_norm": False,
        "initial_scale": None,
    }
    assert "encoder" not in made.components
    assert (made.engine.steps, made.latent.shape) == (7, (2, 3))
    assert (made.lists["callbacks"][0].options["text"], made.lists["callbacks"][0].options["path"]) == (
        "null",
        None,
    )
    with pytest.raises(gv.ConfigurationError, match=r"objective.beta"):
        from_python({"objective.beta": "much"})


def test_a_path_is_read_by_the_source_that_its_ending_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x.npy", "y.csv", "train-images-idx3-ubyte.gz", "plain.txt", "digits"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    expected = {
        "x.npy": "builtin/array",
        "./x.npy": "builtin/array",
        str(tmp_path / "y.csv"): "builtin/table",
        "train-images-idx3-ubyte.gz": "builtin/idx",
        "photos": "builtin/folder",
        "photos/": "builtin/folder",
        "not-there-yet.parquet": "builtin/table",
    }
    for typed, source in expected.items():
        choice = configured(f"data={typed}").components["data"]
        assert choice.id == source, typed
        assert Path(choice.options["path"]).resolve() == (tmp_path / typed).resolve()
    assert configured("data=digits").components["data"].id == "builtin/digits", "a name goes before a file"


def test_data_that_nothing_reads_says_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.xyz").write_text("")
    assert refused("data=plain.xyz").message == "data: no source reads files like 'plain.xyz'."
    unknown = refused("data=digts")
    assert unknown.message == "data: there is no source and no file 'digts'. Did you mean 'digits'?"
    assert "a folder of images" in unknown.hints[0]
    several = refused("data=x.npz")
    assert "more than one source reads 'x.npz': builtin/array, toy/other" in several.message
    assert "data.name=builtin/array data.path=x.npz" in several.hints[0]


def test_a_path_and_options_of_its_source_go_together() -> None:
    made = configured("data.depth=3", "data.held_out=0.3", "data=x.toy")
    assert made.components["data"].id == "toy/other"
    assert option(made, "data", "depth") == 3
    assert made.data.held_out == 0.3
    other = configured("data=y.toy", layers=("data: {name: x.toy, depth: 5}",))
    assert option(other, "data", "depth") == 5
    assert Path(option(other, "data", "path")).name == "y.toy"


def test_what_all_sources_share_is_kept_when_the_source_changes() -> None:
    made = configured("data=x.toy", layers=("data: {name: digits, held_out: 0.4, split_seed: 9}",))
    assert (made.data.held_out, made.data.split_seed) == (0.4, 9)


def test_a_component_that_is_missing_is_named_with_how_to_give_it() -> None:
    builder = Builder(configured("critic=null", plugin="gan"), CATALOGUE)
    with pytest.raises(
        gv.ConfigurationError, match="'gan/relativistic' needs a critic, and this run has none"
    ) as raised:
        builder.objective(gv.DataSpec((20,)))
    assert "add one: critic=mlp" in raised.value.hints[0]


def test_shapes_that_do_not_fit_name_the_component() -> None:
    made = configured(plugin="vae")
    with pytest.raises(gv.ConfigurationError, match="dcgan networks are for images"):
        Builder(configured("generator=dcgan"), CATALOGUE).model(gv.DataSpec((20,)))
    model = Builder(made, CATALOGUE).model(gv.DataSpec((20,)))
    assert model.sample(2).shape == (2, 20)


def test_initial_weights_follow_from_the_seed_alone() -> None:
    def weights(seed: int) -> list[float]:
        model = Builder(configured(f"engine.seed={seed}"), CATALOGUE).model(gv.DataSpec((20,)))
        return model.generator.get_parameter("head.weight").flatten()[:5].tolist()

    assert weights(0) == weights(0) != weights(1)


def test_an_optimizer_without_a_name_is_the_default_one_when_a_name_is_laid_over_it() -> None:
    def laid(name: str) -> Configuration:
        layers = [{"optimizers": {"critic": {"eps": 1e-3}}}, {"optimizers": {"critic": name}}]
        return configure(installed_plugins(), "gan", None, layers)

    assert laid("adam").optimizers["critic"].options["eps"] == 1e-3
    (note,) = laid("rmsprop").notes
    assert "optimizers.critic=builtin/rmsprop does not take over eps=0.001 of builtin/adam" in note
