"""What models do with their latent spaces: completions, edits towards a class, codes found again, and what these take.

    export GANVAE_DATA_DIR=FOLDER        # holds mnist/, adult/adult.data.gz and anomaly/*.npz
    DATA="--data mnist data.mirror=$GANVAE_DATA_DIR/mnist"
    MLP="generator=mlp encoder=mlp generator.hidden=[512,512] encoder.hidden=[512,512]"
    ganvae run --plugin vae $DATA $MLP --steps 4000 --out runs/vae-mnist
    ganvae run --plugin ae $DATA $MLP --steps 3000 --out runs/ae-mnist
    ganvae run --plugin gan --recipe small $DATA --out runs/gan-mnist
    ganvae run --plugin dcgan --data PHOTOS data.resize=64 --steps 10 engine.batch_size=16 --out runs/dcgan64
    python benchmarks/latent.py vae runs/vae-mnist                # completions, edits, inversion
    python benchmarks/latent.py gan runs/gan-mnist runs/ae-mnist  # inversion of a GAN, beside an autoencoder
    python benchmarks/latent.py speed runs/vae-mnist              # seconds of directions and verbs
    python benchmarks/latent.py page runs/vae-mnist runs/dcgan64 # size of the page, and slider to picture, in Chromium
    python benchmarks/latent.py tables                            # trains, then fills in 20 % of the cells

Writes results/latent.json. All rows that are judged are held out.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ganvae_latent import judging
from ganvae_latent.masks import read_mask, there
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

import ganvae_core as gv
from ganvae_core import latent
from ganvae_core.data.split import Split
from ganvae_core.evaluation.sampling import can_sample, evenly
from ganvae_core.latent.directions import first_layer
from ganvae_core.runs.loading import Run

GANVAE = [sys.executable, "-m", "ganvae_core"]
RESULTS = Path(__file__).parent / "results" / "latent.json"
COMPLETED_ROWS, DRAWS, STEPS = 64, 20, 100
LEARNED_ROWS, EDITED_ROWS = 6_000, 600
AMOUNTS = (1, 2, 3)
"""Of edits, in standard deviations of codes along the direction."""
INVERTED_ROWS = 64
DIRECTED_CODES = 4_000
HIDDEN, TABLE_ROWS, TABLE_DRAWS = 0.2, 500, 50
SLIDING = """async () => {
  const slider = document.querySelector("#axes input"), times = [];
  for (let turn = 0; turn < 100; turn++) {
    const began = performance.now(), before = document.body.dataset.decoded;
    slider.value = Number(slider.min) + (slider.max - slider.min) * turn / 100;
    slider.dispatchEvent(new Event("input"));
    while (document.body.dataset.decoded === before) await new Promise((done) => setTimeout(done));
    times.push(performance.now() - began);
  }
  return times;
}"""
TABLE_VAE = [
    "--plugin",
    "vae",
    "latent.shape=[16]",
    "generator.hidden=[256]",
    "encoder.hidden=[256]",
    "--steps",
    "3000",
]
TABLES: dict[str, list[str]] = dict.fromkeys(("WDBC", "satellite", "cardio", "pendigits", "adult"), TABLE_VAE)
"""What is trained for each table."""


def completion(run: Run, split: Split) -> dict[str, Any]:
    """Root mean squared errors of the lower halves of digits, in units of black to white, and what draws cover."""
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
    made, z = latent.complete(run.model, x, visible, draws=DRAWS, steps=STEPS)
    drawn = latent.drawn_at(run.model, z, x, visible)
    covered = {}
    for name, rows in (("means", made), ("draws", drawn)):
        low, high = rows.quantile(0.05, 0), rows.quantile(0.95, 0)
        covered[f"5th to 95th percentile of {name} covers"] = round(
            ((x >= low) & (x <= high))[~visible].float().mean().item(), 3
        )
    return {
        "mean of the completions": error(made.mean(0)),
        "one completion": error(made[0]),
        f"five nearest of {len(training):,} training rows": error(training[torch.as_tensor(nearest)].mean(1)),
        "mean of the training rows": error(training.mean(0).expand_as(x)),
        **covered,
        "of right draws": round(judging.expected_cover(DRAWS), 3),
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
    low, high = run.spec.range or (0.0, 1.0)

    def median(made: torch.Tensor, rows: torch.Tensor) -> float:
        return (made - rows).square().flatten(1).mean(1).sqrt().median().item() / (high - low)

    torch.manual_seed(0)
    began = time.process_time()
    found = {"median error of held-out digits": round(median(latent.invert(run.model, x).x, x), 4)}
    found["CPU seconds"] = round(time.process_time() - began, 1)
    with torch.no_grad():
        if run.model.encoder is not None:
            found["with the encoder's codes"] = round(median(run.model.reconstruct(x), x), 4)
        if not can_sample(run.model):
            return found
        own = run.model.sample(INVERTED_ROWS)
    began = time.process_time()
    again = median(latent.invert(run.model, own).x, own)
    found["median PSNR of own samples, dB"] = round(-20 * float(np.log10(again)), 1)
    found["CPU seconds of own samples"] = round(time.process_time() - began, 1)
    return found


def speed(path: str) -> dict[str, Any]:
    """CPU seconds of directions, torch and the run loaded; and of whole commands, beside those of importing torch."""
    run = gv.load(path)
    latent_shape = tuple(run.model.prior.sample(1).shape[1:])
    codes = run.model.prior.sample(DIRECTED_CODES)
    layer = first_layer(run.model)
    found: dict[str, Any] = {}
    for name, compute in {
        "sefa": lambda: latent.closed_form_directions(run.model, latent_shape, 6),
        "pca of codes": lambda: latent.pca_directions(run.model, codes, 6),
        f"pca of {layer}": lambda: latent.pca_directions(run.model, codes, 6, layer=layer),
    }.items():
        began = time.process_time()
        compute()
        found[name] = round(time.process_time() - began, 3)
    found["python -c 'import torch'"] = round(_cpu_seconds([], [sys.executable, "-c", "import torch"]), 2)
    subprocess.run([*GANVAE, "directions", path, "--by", "sefa", "-n", "2"], check=True, capture_output=True)
    for words in (
        ["--version"],
        ["interpolate", path],
        ["traverse", path],
        ["edit", path, "--direction", "sefa-1=2"],
    ):
        found[f"ganvae {words[0]}"] = round(_cpu_seconds(words), 2)
    return found


def _cpu_seconds(words: list[str], program: list[str] = GANVAE) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*program, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def page(path: str) -> dict[str, Any]:
    """Megabytes of the file, and milliseconds from a slider to its picture, in headless Chromium."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        subprocess.run([*GANVAE, "explore", path, "-o", str(file)], check=True, capture_output=True)
        with sync_playwright() as started:
            shown = started.chromium.launch(executable_path="/usr/bin/chromium").new_page()
            shown.goto(file.as_uri())
            shown.wait_for_selector("body[data-ready]", timeout=120_000)
            times = sorted(shown.evaluate(SLIDING))
        megabytes = file.stat().st_size / 1e6
    return {
        "megabytes": round(megabytes, 1), "median": round(times[len(times) // 2], 1), "least": round(times[0], 1),
    }  # fmt: skip


def tables(folder: Path) -> dict[str, Any]:
    """What 20 % hidden cells of held-out rows are filled in with, for the census table and for numeric ones."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(os.environ["GANVAE_DATA_DIR"])
    found: dict[str, Any] = {}
    for name, words in TABLES.items():
        data, out = folder / f"{name}.csv", folder / name
        if name == "adult":
            data.write_bytes(gzip.decompress((source / "adult" / "adult.data.gz").read_bytes()))
        else:
            (file,) = source.glob(f"anomaly/*_{name}.npz")
            with np.load(file, allow_pickle=False) as arrays:
                header = ",".join(f"c{column}" for column in range(arrays["X"].shape[1]))
                np.savetxt(data, arrays["X"], "%.9g", ",", header=header, comments="")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if not out.exists():
            subprocess.run(
                [*GANVAE, "run", "--data", str(data), "--out", str(out), "--quiet", *words], check=True
            )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        run = gv.load(out)
        found[name] = filled_in(run, run.open_data()) | {"CPU seconds of training": round(seconds)}
        print(json.dumps({name: found[name]}, indent=2), flush=True)
    return found


def filled_in(run: Run, split: Split) -> dict[str, Any]:
    """Errors of hidden cells: of numbers in deviations of the column, of categories the share of wrong ones."""
    batch = run.batch(split, evenly(split.held_out, TABLE_ROWS))
    visible = torch.as_tensor(read_mask(f"random:{HIDDEN}", run.spec, run.view, len(batch.x), 0))
    known = there(batch.x, batch.mask, run.spec)
    seen = visible & known
    training = np.concatenate(
        [judging.entries_of(run, run.batch(split, part).x) for part in np.array_split(split.training[:], 20)]
    )
    entries, truth = judging.kinds_of(training, run.spec), judging.entries_of(run, batch.x)
    hidden = judging.of_entries(known & ~visible, run.spec)
    torch.manual_seed(0)
    began = time.process_time()
    made = latent.complete(
        run.model, batch.x, seen, batch.condition, draws=TABLE_DRAWS, steps=STEPS, noise=True
    ).x
    seconds = time.process_time() - began
    draws = np.stack([judging.entries_of(run, each) for each in made])
    holes = np.where(judging.of_entries(seen, run.spec), truth, np.nan)
    ways = {
        "mean of the completions": judging.centre_of(draws, entries),
        "one completion": draws[0],
        f"five nearest of {len(training):,} training rows": judging.nearest_rows(training, holes, entries),
        "mean of the training rows": judging.centre_of(training[:, None], entries).repeat(len(truth), 0),
    }
    kinds = {"error of numbers": 0, "wrong categories": 1}
    found: dict[str, Any] = {}
    for kind, place in kinds.items():
        measured = {name: judging.errors(way, truth, hidden, entries)[place] for name, way in ways.items()}
        if not np.isnan(measured["one completion"]):
            covered = judging.covered(draws, truth, hidden, entries)[place]
            found[kind] = {
                **{name: round(error, 4) for name, error in measured.items()},
                "covered": round(covered, 3),
            }
    return found | {
        "numbers that right draws cover": round(judging.expected_cover(TABLE_DRAWS), 3),
        "rows": len(truth), "CPU seconds": round(seconds, 1),
    }  # fmt: skip


def store(**parts: dict[str, Any]) -> None:
    print(json.dumps(parts, indent=2), flush=True)
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**before, **parts}, indent=2) + "\n")


def main() -> None:
    what, *paths = sys.argv[1:]
    if what == "speed":
        return store(speed=speed(paths[0]))
    if what == "page":
        return store(page={Path(path).name: page(path) for path in paths})
    if what == "tables":
        return store(tables=tables(Path("build/latent")))
    for path in paths:
        run = gv.load(path)
        split, name = run.open_data(), run.configuration.plugin
        if what == "vae":
            for measure in (completion, edits):
                store(**{measure.__name__: measure(run, split)})
        store(**{f"inversion, {name}": {"step": run.step, **inversion(run, split)}})
    return None


if __name__ == "__main__":
    main()
