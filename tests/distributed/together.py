"""What each of two processes does: the trainings of ``cases``, and a run from Python. It writes what came of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import safetensors.torch
import torch
from cases import ALIKE, EQUAL, FAIL, SHIPPED, InterruptAt, outcome
from toys import images

import ganvae_core as gv
from ganvae_core.engine.processes import RankLostError, world


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank = world().rank
    everything = {
        **{name: (make, changes) for name, (make, changes, _) in EQUAL.items()},
        **{name: (make, {}) for name, make in {**ALIKE, **FAIL}.items()},
    }
    for name, (make, changes) in everything.items():
        tensors, said = outcome(make, changes, float64=name not in SHIPPED)
        place = folder / name.replace("/", "-")
        place.mkdir(exist_ok=True)
        safetensors.torch.save_file(tensors, place / f"{rank}.safetensors")
        (place / f"{rank}.json").write_text(json.dumps(said))

    run = gv.train("ae", data=images(), steps=3, out=folder / "run",
                   overrides={"engine.device": "cpu", "engine.batch_size": 8, "engine.log_every": 1})  # fmt: skip
    (folder / f"run-{rank}.json").write_text(json.dumps([str(run.path), run.step, run.sample(2).tolist()]))
    in_stages(folder, rank)
    try:
        gv.train("vae", data=folder / f"only-rank-{rank}.npy", out=folder / "no run")
    except gv.GanvaeError as error:
        (folder / f"refused-{rank}.txt").write_text(f"{type(error).__name__}: {error}")

    if rank == 1:
        return  # without a word
    try:
        world().exchange("is anybody there?")
    except RankLostError as error:
        (folder / "lost.txt").write_text(str(error))


def in_stages(folder: Path, rank: int) -> None:
    """A run of two stages, and one that is interrupted in the last step of the first stage and resumed."""
    settings = {
        "engine.device": "cpu", "engine.batch_size": 8, "engine.steps": 3, "latent.shape": [2], "prior": "mixture",
        "train": ["generator", "encoder"],
        "stages": [{"objective": "prior-likelihood", "steps": 2, "train": ["prior"]}],
    }  # fmt: skip
    gv.train("ae", data=images(), overrides=settings, out=folder / "stages")
    cut = gv.train("ae", data=images(), overrides=settings, out=folder / "cut", callbacks=[InterruptAt(3)])
    steps = [cut.step, cut.resume(data=images()).step]
    (folder / f"stages-{rank}.json").write_text(json.dumps(steps))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
