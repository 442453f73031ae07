"""``run --from``: a new run that begins with the weights of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from command_line import Refused, Say

import ganvae_core as gv


def test_a_run_from_another_has_its_settings_and_begins_with_its_weights(vae: Path, done: Say) -> None:
    done(
        "run",
        "--from",
        vae,
        "--steps",
        1,
        "optimizers.default.lr=0",
        "engine.ema_half_life_samples=0",
        "--out",
        "new",
    )
    before, after = gv.load(vae).model.state_dict(), gv.load("new").model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    written, old = (yaml.safe_load(Path(run, "config.yaml").read_text()) for run in ("new", vae))
    assert written["from"] == {"path": str(Path(vae).absolute()), "step": None}
    assert written["generator"] == old["generator"]


def test_what_a_new_run_cannot_begin_with_is_refused(vae: Path, refused: Refused) -> None:
    assert "there is no run 'nowhere'" in refused("run", "--from", "nowhere")
    assert "--from does not go with --resume" in refused("run", "--resume", vae, "--from", vae)
    said = refused("run", "--from", vae, "generator.hidden=[5]", "--out", "new")
    assert "has the shape" in said
    assert not Path("new").exists()


def test_fit_prior_gives_a_trained_model_another_prior_and_leaves_the_rest(
    vae: Path, done: Say, caplog: pytest.LogCaptureFixture
) -> None:
    done("run", "--plugin", "ae", "--steps", 1, "--out", "ae", "generator.hidden=[4]", "encoder.hidden=[4]")
    with caplog.at_level("WARNING", "ganvae"):
        done("fit-prior", vae, "--prior", "latent-flow", "--steps", 3, "--out", "flow", "--quiet",
             "prior.width=8", "prior.layers=1", "prior.steps=2",
             "metrics=[elbo]", "engine.evaluate_every=1")  # fmt: skip
    assert caplog.text.count("the prior's density costs an integration for each row") == 1
    assert not gv.load("flow").results
    done("run", "--from", "ae", "--prior", "gaussian-mixture", "--out", "fitted", "prior.components=2")
    flow, fitted = gv.load("flow").model, gv.load("fitted").model
    for old, made in ((gv.load(vae).model, flow), (gv.load("ae").model, fitted)):
        for part in ("generator", "encoder"):
            before, after = getattr(old, part).state_dict(), getattr(made, part).state_dict()
            assert all(torch.equal(before[name], after[name]) for name in before)
    assert isinstance(flow.prior, gv.LatentFlow)
    assert flow.prior.batches == 3
    assert isinstance(fitted.prior, gv.GaussianMixture)
    assert fitted.prior.fitted
    assert fitted.prior.components == 2


@pytest.mark.parametrize("further", [(), ("objective.reference=normal",)])
def test_fit_prior_fits_a_mixture_to_the_codes_of_a_vae(
    vae: Path, done: Say, further: tuple[str, ...]
) -> None:
    done("fit-prior", vae, "--prior", "gaussian-mixture", "--out", "mixture", "prior.components=2", *further)
    old, made = gv.load(vae).model, gv.load("mixture").model
    assert isinstance(made.prior, gv.GaussianMixture)
    assert made.prior.fitted
    for part in ("generator", "encoder"):
        before, after = getattr(old, part).state_dict(), getattr(made, part).state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
    objective = yaml.safe_load(Path("mixture/config.yaml").read_text("utf-8"))["objective"]["name"]
    assert objective == ("vae/elbo" if further else "ae/autoencoder")


@pytest.mark.parametrize("prior", ["gaussian-mixture", "mixture"])
def test_fit_prior_leaves_out_what_its_run_does_not_have(done: Say, prior: str) -> None:
    """The optimizer of a critic of codes, and early stopping by a metric of the old objective."""
    done("run", "--plugin", "vae", "--recipe", "aae", "--steps", 1, "--out", "aae", "generator.hidden=[4]",
         "encoder.hidden=[4]", "callbacks=[early-stopping, tensorboard]", "metrics=[reconstruction]")  # fmt: skip
    done("fit-prior", "aae", "--prior", prior, "--steps", 1, "--out", "made")
    configuration = yaml.safe_load(Path("made/config.yaml").read_text("utf-8"))
    assert list(configuration["optimizers"]) == ["default"]
    assert [callback["name"] for callback in configuration["callbacks"]] == ["builtin/tensorboard"]
