"""Sounds for people: .wav and .flac files, and a picture of waveforms and spectrograms."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from ganvae_audio.sounds import FULL, soundfile
from ganvae_audio.spectrogram import LEVELS, Spectrogram
from ganvae_core import DataSpec, Drawing, View

MOST_ACROSS = 8
PAUSE_SECONDS = 0.1
"""Between the sounds of one file."""
DRAWN_MELS = 64
LETTERS_IN_INCH = 16
"""Of a title."""
GAP = 0.15
"""Around a sound in a picture, whose waveform and spectrogram are one unit wide and high each."""


@final
class AudioView(View):
    """Sounds of one channel: a folder of .wav files, all in one .wav or .flac file, or a picture."""

    noun = "sounds"
    endings = (".png", "", ".wav", ".flac")
    as_grid = True
    plugin = "audio-vae"
    along = 1

    def fits(self, spec: DataSpec) -> bool:
        """Whether rows are waveforms or spectrograms of a known rate."""
        details = spec.details
        if not {"sample_rate", "length", "representation", "mels"} <= details.keys():
            return False
        is_mel = details["representation"] == "mel"
        return spec.shape == (_spectrogram(spec).shape if is_mel else (1, details["length"]))

    def describe(self, spec: DataSpec) -> str:
        """``0.5 s at 8,000 Hz``."""
        rate = spec.details["sample_rate"]
        return f"{spec.details['length'] / rate:.3g} s at {rate:,} Hz"

    def places_in_unit(self, spec: DataSpec) -> float:
        """Values of a waveform, or frames of a spectrogram, in a second."""
        return spec.shape[1] * spec.details["sample_rate"] / spec.details["length"]

    def hidden(self, spec: DataSpec) -> float:
        """Silence."""
        return 0.0

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """Each sound as its waveform above its spectrogram; originals stand above their reconstructions."""
        from matplotlib.figure import Figure

        rows, pairs = drawing.rows, drawing.originals is not None
        across = min(drawing.columns or len(drawing.headings) or MOST_ACROSS, len(rows))
        kinds = [rows] if drawing.originals is None else [drawing.originals, rows]
        lines = math.ceil(len(rows) / across) * len(kinds)
        figure = Figure((1.5 * across + 0.4, 1.5 * lines + 0.4), layout="constrained")
        axes: Any = figure.subplots()
        for kind, sounds in enumerate(kinds):
            waveforms = waveforms_of(sounds, spec)
            for number, (wave, image) in enumerate(
                zip(waveforms, _images(sounds, waveforms, spec), strict=True)
            ):
                line = (number // across) * len(kinds) + kind
                left, top = (number % across) * (1 + GAP), -line * (2 + 2 * GAP)
                time = np.linspace(left, left + 1, len(wave))
                axes.plot(time, top - 0.5 + 0.5 * wave, color=f"C{kind}", linewidth=0.4)
                axes.imshow(
                    image, cmap="magma", vmin=0, vmax=LEVELS, origin="lower", aspect="auto",
                    interpolation="nearest", extent=(left, left + 1, top - 2, top - 1),
                )  # fmt: skip
        span = across // len(drawing.headings) if drawing.headings else 1
        for number, heading in enumerate(drawing.headings):
            at = (number * span + span / 2) * (1 + GAP) - GAP / 2
            axes.text(at, GAP / 2, heading, ha="center", va="bottom", fontsize=8)
        for line in range(lines if pairs else 0):
            name = ("original", drawing.name.removesuffix("s"))[line % 2]
            axes.text(-GAP, -line * (2 + 2 * GAP) - 1, name, ha="right", va="center", rotation=90, fontsize=6)
        axes.set(xlim=(-2 * GAP, across * (1 + GAP)), ylim=(-lines * (2 + 2 * GAP) + GAP, 3 * GAP))
        axes.axis("off")
        seconds = spec.details["length"] / spec.details["sample_rate"]
        title = (
            f"{len(rows):,} {drawing.name}: waveform, and spectrogram up to "
            f"{spec.details['sample_rate'] / 2000:g} kHz, over {seconds:.3g} s"
        )
        figure.suptitle(textwrap.fill(title, int(figure.get_figwidth() * LETTERS_IN_INCH)), fontsize=8)
        figure.savefig(path, format="png", dpi=110)

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """A folder of ``00000.wav``, ``00001.wav`` …; or all in one file, with pauses between them."""
        file, rate = soundfile(), spec.details["sample_rate"]
        sounds = np.clip(np.rint(waveforms_of(rows, spec) * FULL), -FULL, FULL - 1).astype(np.int16)
        if path.suffix:
            pause = np.zeros((len(sounds), round(PAUSE_SECONDS * rate)), np.int16)
            file.write(path, np.concatenate([sounds, pause], 1).ravel(), rate, format=path.suffix[1:].upper())
            return
        path.mkdir()
        for number, sound in enumerate(sounds):
            file.write(path / f"{number:05d}.wav", sound, rate)


def waveforms_of(rows: np.ndarray, spec: DataSpec) -> np.ndarray:
    """Rows in the source's units -> (N, length) in [-1, 1], float32."""
    if spec.details["representation"] == "mel":
        return _spectrogram(spec).waveforms(rows)
    return np.clip(rows[:, 0].astype(np.float32) / FULL, -1, 1)


def _images(rows: np.ndarray, waveforms: np.ndarray, spec: DataSpec) -> np.ndarray:
    """(N, mels, T) levels."""
    if spec.details["representation"] == "mel":
        return rows
    hop = _spectrogram(spec).hop
    padded = np.pad(waveforms, ((0, 0), (0, -waveforms.shape[1] % hop)))
    return Spectrogram(spec.details["sample_rate"], padded.shape[1], DRAWN_MELS).of(padded)


def _spectrogram(spec: DataSpec) -> Spectrogram:
    return Spectrogram(spec.details["sample_rate"], spec.details["length"], spec.details["mels"])
