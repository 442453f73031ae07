"""``config`` prints everything that a run is made from, in a form from which the same run is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import SMALL, Refused, Say, files_in, write_table

from ganvae_core.plugins import installed_plugins

PLUGINS = [plugin.name for plugin in installed_plugins().ready if plugin.recipes]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_what_is_printed_makes_the_same_configuration(plugin: str, folder: Path, done: Say) -> None:
    printed = done("config", "--plugin", plugin, "engine.seed=7")
    assert printed.err == ""
    (folder / "my.yaml").write_text(printed.out)
    assert done("config", "--config", "my.yaml").out == printed.out
    assert yaml.safe_load(printed.out) == json.loads(done("config", "--config", "my.yaml", "--json").out)


def test_what_is_printed_trains_the_same_model(folder: Path, done: Say) -> None:
    write_table(folder / "größe 1.csv")
    words = ["--plugin", "vae", "--data", "größe 1.csv", "data.label=size", "data.condition=true", *SMALL,
             "engine.steps=2", "objective.beta=1e-3", "optimizers.default.clip_norm=null",
             "encoder={name: mlp, hidden: [4]}"]  # fmt: skip
    words = [word for word in words if not word.startswith("encoder=")] + ["encoder.hidden=[4]"]
    (folder / "my.yaml").write_text(done("config", *words).out)
    done("run", "--config", "my.yaml", "--out", "printed", "--quiet")
    done("run", *words, "--out", "typed", "--quiet")
    assert (folder / "printed" / "config.yaml").read_text() == (folder / "typed" / "config.yaml").read_text()
    one, other = (
        (folder / run / "checkpoints/step-000002/model.safetensors") for run in ("printed", "typed")
    )
    assert one.read_bytes() == other.read_bytes()


def test_every_setting_says_what_it_is_for(done: Say) -> None:
    lines = done("config", "--plugin", "vae").out.splitlines()
    (beta,) = [line for line in lines if line.strip().startswith("beta:")]
    assert beta.startswith("  beta: 1.0 ")
    assert "# weight of the KL term" in beta
    settings = [line for line in lines if line.startswith("  ") and not line.endswith(":")]
    assert len([line for line in settings if "  # " in line]) == len(settings)


def test_what_is_typed_wins_and_is_shown_with_full_names(done: Say) -> None:
    printed = yaml.safe_load(done("config", "--plugin", "vae", "generator=dcgan", "objective.beta=4").out)
    assert printed["generator"]["name"] == "dcgan/dcgan"
    assert printed["objective"] == {
        "name": "vae/elbo",
        "beta": 4.0,
        "free_bits": 0.0,
        "capacity": None,
        "reference": "prior",
    }
    assert printed["critic"] is None


def test_the_configuration_of_a_run_can_be_printed_and_changed(vae: Path, done: Say) -> None:
    printed = yaml.safe_load(done("config", "--config", vae / "config.yaml", "--seed", "9").out)
    assert printed["engine"]["seed"] == 9
    assert printed["generator"]["hidden"] == [4]


def test_the_configuration_of_a_run_of_an_earlier_version_is_read(vae: Path, folder: Path, done: Say) -> None:
    text = (vae / "config.yaml").read_text("utf-8")
    Path("old.yaml").write_text(text.replace("engine:\n", "engine:\n  on_nonfinite: stop\n"), "utf-8")
    assert done("config", "--config", "old.yaml").out == done("config", "--config", vae / "config.yaml").out


def test_asking_writes_nothing(folder: Path, done: Say) -> None:
    done("config", "--plugin", "vae")
    assert files_in(folder) == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "which plugin?  ganvae config --plugin vae"),
        (["vae"], "a plugin is named by --plugin.  ganvae config --plugin vae"),
        (["--plugin", "vea"], "Did you mean 'vae'?"),
        (["--plugin", "vae", "objective.bta=1"], "Did you mean 'beta' (float or a schedule, now 1.0)?"),
        (["--plugin", "vae", "--config", "nowhere.yaml"], "there is no file 'nowhere.yaml'"),
        (["--plugin", "vae", "engine.steps=-1"], "engine.steps: -1"),
        (["--plugin", "vae", "recipe=gan"], "a recipe is named by --recipe"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_run_would_refuse_is_refused(words: list[str], expected: str, refused: Refused) -> None:
    assert expected in refused("config", *words)


def test_a_schedule_that_run_refuses_is_refused_by_config(say: Say) -> None:
    refused = say("config", "--plugin", "vae", "objective.beta=linear")
    assert (refused.code, "the schedule 'linear' has no samples" in refused.err) == (2, True)
    assert say("config", "--plugin", "vae", "objective.beta={name: linear, samples: 9}").code == 0
    assert say("config", "--plugin", "vae", "optimizers.default.schedule=linear").code == 0


def test_comments_are_plain_text(say: Say) -> None:
    for plugin in installed_plugins().with_recipes():
        assert "``" not in say("config", "--plugin", plugin).out
