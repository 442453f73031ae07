"""What a VAE of MNIST does with its latent space: completions of half digits, edits towards a class, codes found again.

    export GANVAE_DATA_DIR=FOLDER        # holds mnist/train-images-idx3-ubyte.gz and its labels
    ganvae run --plugin vae --data mnist data.mirror=$GANVAE_DATA_DIR/mnist generator=mlp encoder=mlp \
        generator.hidden=[512,512] encoder.hidden=[512,512] --steps 4000 --out runs/vae-mnist
    python benchmarks/latent.py runs/vae-mnist

Writes results/latent.json. All rows that are judged are held out.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

import ganvae_core as gv
from ganvae_core import latent
from ganvae_core.data.split import Split
from ganvae_core.evaluation.sampling import evenly
from ganvae_core.runs.loading import Run

RESULTS = Path(__file__).parent / "results" / "latent.json"
COMPLETED_ROWS, DRAWS, STEPS = 64, 20, 100
LEARNED_ROWS, EDITED_ROWS = 6_000, 600
AMOUNTS = (1, 2, 3)
"""Of edits, in standard deviations of codes along the direction."""
INVERTED_ROWS = 64


def completion(run: Run, split: Split) -> dict[str, Any]:
    """Root mean squared errors of the lower halves of digits, in units of black to white."""
    x = run.batch(split, evenly(split.held_out, COMPLETED_ROWS)).x
    visible = torch.ones_like(x, dtype=torch.bool)
    visible[:, :, x.shape[2] // 2 :] = False

    def error(made: torch.Tensor) -> float:
        return round((made - x)[~visible].square().mean().sqrt().item(), 4)

    # What scikit-learn's KNNImputer gives where all rows lack the same entries, in a fraction of its time.
    training = torch.cat([run.batch(split, part).x for part in np.array_split(split.training[:], 50)])
    seen = visible[0].flatten().numpy()
    search = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(training.flatten(1).numpy()[:, seen])
    nearest = search.kneighbors(x.flatten(1).numpy()[:, seen], return_distance=False)
    torch.manual_seed(0)
    made = latent.complete(run.model, x, visible, draws=DRAWS, steps=STEPS)
    low, high = made.quantile(0.05, 0), made.quantile(0.95, 0)
    return {
        "mean of the completions": error(made.mean(0)),
        "one completion": error(made[0]),
        f"five nearest of {len(training):,} training rows": error(training[torch.as_tensor(nearest)].mean(1)),
        "mean of the training rows": error(training.mean(0).expand_as(x)),
        "5th to 95th percentile covers": round(((x >= low) & (x <= high))[~visible].float().mean().item(), 3),
    }


@torch.no_grad()
def edits(run: Run, split: Split) -> dict[str, Any]:
    """How often a linear judge of pixels finds the class likelier after an edit, and how much others change."""
    learned, held_out = evenly(split.training, LEARNED_ROWS), evenly(split.held_out, EDITED_ROWS)
    labels, others = (np.asarray(split.source.labels(rows)) for rows in (learned, held_out))
    judge = LogisticRegression(max_iter=300).fit(run.batch(split, learned).x.flatten(1).numpy(), labels)
    codes, z = (torch.as_tensor(run.encode(split, rows)) for rows in (learned, held_out))

    def judged(codes: torch.Tensor) -> np.ndarray:
        return judge.predict_proba(run.model(codes).flatten(1).numpy())

    found: dict[str, Any] = {
        "judge's accuracy": round(float(judge.score(run.batch(split, held_out).x.flatten(1), others)), 3)
    }
    shares = {amount: list[float]() for amount in AMOUNTS}
    changes = {amount: list[float]() for amount in AMOUNTS}
    for kind in range(10):
        direction, _ = latent.supervised_direction(codes, labels == kind)
        spread = (codes @ direction).std().item()
        base = z[torch.as_tensor(others != kind)]
        before = judged(base)
        for amount in AMOUNTS:
            change = judged(latent.moved(base, direction, amount * spread)) - before
            shares[amount].append(float((change[:, kind] > 0).mean()))
            changes[amount].append(float(np.abs(np.delete(change, kind, 1)).mean()))
    for amount in AMOUNTS:
        found[f"{amount} standard deviations"] = {
            "likelier": round(float(np.mean(shares[amount])), 3),
            "likelier, least of the classes": round(min(shares[amount]), 3),
            "mean change of another class's probability": round(float(np.mean(changes[amount])), 3),
        }
    return found


def inversion(run: Run, split: Split) -> dict[str, Any]:
    """Errors of held-out digits from codes that are found, beside the encoder's; and of the model's own samples."""
    x = run.batch(split, evenly(split.held_out, INVERTED_ROWS)).x
    torch.manual_seed(0)
    began = time.process_time()
    found = latent.invert(run.model, x).error.median().item()
    seconds = time.process_time() - began
    with torch.no_grad():
        encoded = (run.model.reconstruct(x) - x).square().flatten(1).mean(1).sqrt().median().item()
        own = run.model.sample(INVERTED_ROWS)
    again = latent.invert(run.model, own).error.median().item()
    return {
        "median error of held-out digits": round(found, 4),
        "with the encoder's codes": round(encoded, 4),
        "CPU seconds": round(seconds, 1),
        "median PSNR of own samples, dB": round(-20 * float(np.log10(again)), 1),
    }


def main() -> None:
    run = gv.load(sys.argv[1])
    split = run.open_data()
    results: dict[str, Any] = {"plugin": run.configuration.plugin, "step": run.step}
    for measure in (completion, edits, inversion):
        results[measure.__name__] = measure(run, split)
        print(json.dumps({measure.__name__: results[measure.__name__]}, indent=2), flush=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
