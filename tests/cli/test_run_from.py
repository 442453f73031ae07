"""``run --from``: a new run that begins with the weights of another."""

from __future__ import annotations

from pathlib import Path

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
