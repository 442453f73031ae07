"""How many samples of a spoken digit are recognised as the digit that was asked for.

Trains conditional recipes on the Free Spoken Digit Dataset (3,000 recordings of six speakers, 8 kHz) from the shell
and draws sounds of each digit as .wav files. A judge, a small convolutional network on log-mel spectrograms, is trained
on the recordings without takes 0 to 4, and its accuracy is that on these takes. It judges the sounds in the .wav files,
and the recordings of takes 0 to 4 after their spectrograms were turned into sound.

    export GANVAE_DATA_DIR=FOLDER              # holds spoken-digits.tar.gz
    python benchmarks/spoken_digits.py         # runs what results/spoken_digits.json does not have yet
    python benchmarks/spoken_digits.py --write-table
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ganvae_audio.sounds import Audio
from ganvae_audio.view import AudioView
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional as F

import ganvae_core as gv

HERE = Path(__file__).parent
RESULTS, README = HERE / "results" / "spoken_digits.json", HERE / "README.md"
SETTINGS: dict[str, list[str]] = {
    "audio-vae": ["--plugin", "audio-vae"],
    "audio-gan": ["--plugin", "audio-gan"],
    "audio-gan, waveforms": ["--plugin", "audio-gan", "--recipe", "waveform"],
}
"""What is trained, by the name in the results."""
EACH = 50
"""Samples of each digit."""
TAKES = 5
"""The takes of each speaker and digit that the judge is tested on."""
SECONDS = 0.664
EPOCHS, BATCH, SHIFT = 16, 64, 6


class Judge(nn.Module):
    """Log-mel spectrograms (B, 64, T) uint8 -> logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 48)
        self.layers = nn.Sequential(
            *(
                layer
                for before, after in itertools.pairwise(widths)
                for layer in (nn.Conv2d(before, after, 5, 2, 2), nn.BatchNorm2d(after), nn.ReLU())
            ),
            nn.AdaptiveAvgPool2d((4, 4)),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(16 * widths[-1], 10),
        )

    def forward(self, levels: Tensor) -> Tensor:
        return self.layers(levels[:, None].float() / 127.5 - 1)


def recordings(work: Path) -> Path:
    """The folder of the recordings, unpacked."""
    folder = work / "recordings"
    if not folder.exists():
        with tarfile.open(Path(os.environ["GANVAE_DATA_DIR"]) / "spoken-digits.tar.gz") as archive:
            archive.extractall(work, filter="data")
    return folder


def levels_of(path: Path) -> Tensor:
    """(N, 64, T) spectrograms of sounds, in the order of their paths, as the judge is given them."""
    source = Audio(path=str(path), representation="mel", seconds=SECONDS, sample_rate=8000, skip_corrupt=True)
    return torch.from_numpy(source.rows(slice(None)).x)


def trained_judge(levels: Tensor, digits: Tensor) -> Judge:
    torch.manual_seed(0)
    judge = Judge()
    steps = EPOCHS * (len(levels) // BATCH)
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for _ in range(steps):
        rows = torch.randint(len(levels), (BATCH,))
        x = levels[rows].roll(int(torch.randint(-SHIFT, SHIFT + 1, ())), 2)
        optimizer.zero_grad()
        F.cross_entropy(judge(x), digits[rows], label_smoothing=0.05).backward()
        optimizer.step()
        schedule.step()
    return judge.eval()


def recognised(judge: Judge, levels: Tensor, digits: Tensor) -> dict[str, Any]:
    """The share of sounds that are recognised as these digits, in all and of each digit."""
    with torch.no_grad():
        right = (judge(levels).argmax(1) == digits).float()
    return {
        "recognised": right.mean().item(),
        "by_digit": [round(right[digits == digit].mean().item(), 3) for digit in range(10)],
        "sounds": len(right),
    }


def judged(judge: Judge, run: Path, folder: Path) -> dict[str, Any]:
    """Samples of each digit as .wav files, judged."""
    levels, digits = [], []
    for digit in range(10):
        made = folder / str(digit)
        if not made.exists():
            ganvae("sample", run, "--condition", str(digit), "-n", EACH, "-o", made)
        levels.append(levels_of(made))
        digits += [digit] * len(levels[-1])
    return recognised(judge, torch.cat(levels), torch.tensor(digits))


def through_sound(folder: Path, test: np.ndarray, made: Path) -> Tensor:
    """Recordings whose spectrograms were turned into sound once, as the judge is given them."""
    source = Audio(path=str(folder), representation="mel", seconds=SECONDS)
    if not made.exists():
        AudioView().write(source.rows(np.flatnonzero(test)).x, source.spec, made, {})
    return levels_of(made)


def ganvae(*arguments: Any) -> None:
    command = [sys.executable, "-m", "ganvae_core", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def store(results: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def measure(work: Path, names: list[str]) -> None:
    work.mkdir(parents=True, exist_ok=True)
    folder = recordings(work)
    files = sorted(folder.glob("*.wav"))
    digits = torch.tensor([int(file.stem[0]) for file in files])
    test = np.array([int(file.stem.rpartition("_")[2]) < TAKES for file in files])
    levels = levels_of(folder)
    weights, judge = work / "judge.safetensors", Judge().eval()
    if weights.exists():
        load_model(judge, weights)
    else:
        judge = trained_judge(levels[~test], digits[~test])
        save_model(judge, str(weights))
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["recordings"] = recognised(judge, levels[test], digits[test])
    made = through_sound(folder, test, work / "through-sound")
    results["recordings through spectrograms"] = recognised(judge, made, digits[test])
    store(results)
    for name in names:
        if name in results:
            continue
        run, before = work / name, resource.getrusage(resource.RUSAGE_CHILDREN)
        data = [f"--data={folder}", "data.label_pattern={label}_*", "data.condition=true"]
        if (run / "config.yaml").exists():
            if gv.load(run).step < gv.load(run).configuration.engine.steps:
                ganvae("run", "--resume", run)
        else:
            ganvae("run", *SETTINGS[name], *data, "--out", run)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        results[name] = {**judged(judge, run, work / f"{name}-made"), "cpu_minutes": round(seconds / 60, 1)}
        results[name]["steps"] = gv.load(run).step
        store(results)


def write_table() -> None:
    """The table of the README."""
    lines = ["| sounds | recognised | least, of the digits | CPU minutes |", "|---|---|---|---|"]
    for name, found in json.loads(RESULTS.read_text()).items():
        minutes = found.get("cpu_minutes", "")
        lines.append(f"| {name} | {found['recognised']:.3f} | {min(found['by_digit']):.2f} | {minutes} |")
    text = README.read_text()
    start, end = "<!-- spoken digits begin -->", "<!-- spoken digits end -->"
    before, _, rest = text.partition(start)
    README.write_text(f"{before}{start}\n" + "\n".join(lines) + f"\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, default=Path("spoken-digits"), help="where runs and sounds are kept"
    )
    parser.add_argument("--only", nargs="*", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--write-table", action="store_true")
    given = parser.parse_args()
    if given.write_table:
        write_table()
    else:
        measure(given.work, given.only)
