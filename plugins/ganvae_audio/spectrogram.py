"""Waveforms to log-mel spectrograms, and back by the algorithm of Griffin and Lim. N is rows, L values, T frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

LOUDNESS = 60.0
"""Decibels between the lowest and the highest value of a spectrogram; a sine of full amplitude has the highest one."""
LEVELS = 255
WINDOW_SECONDS = 0.032
OVERLAP = 4
"""Windows that each value of a waveform lies in."""
ITERATIONS = 32
MOMENTUM = 0.99


@final
@dataclass(frozen=True)
class Spectrogram:
    """The short-time Fourier transform of sounds of one length, in bands of the mel scale.

    Args:
        sample_rate: in Hz.
        length: L, a multiple of ``hop``.
        mels: number of bands.
    """

    sample_rate: int
    length: int
    mels: int

    @property
    def window(self) -> int:
        """Values in a window: a power of two, of about 32 milliseconds."""
        return 2 ** max(4, round(np.log2(WINDOW_SECONDS * self.sample_rate)))

    @property
    def hop(self) -> int:
        """Values from one window to the next."""
        return self.window // OVERLAP

    @property
    def shape(self) -> tuple[int, int]:
        """(mels, T)."""
        return self.mels, self.length // self.hop

    def of(self, waveforms: np.ndarray) -> np.ndarray:
        """(N, L) in [-1, 1] -> (N, mels, T) uint8: decibels below full amplitude, of which 0 stands for 60 and more."""
        magnitudes = np.abs(self._transform(waveforms))
        bands = (magnitudes.reshape(-1, magnitudes.shape[-1]) @ self._bands().T).reshape(
            len(waveforms), -1, self.mels
        )
        decibels = 20 * np.log10(np.maximum(bands, 10 ** (-LOUDNESS / 20)))
        levels = np.rint((1 + decibels / LOUDNESS) * LEVELS)
        return np.clip(levels, 0, LEVELS).astype(np.uint8).transpose(0, 2, 1)

    def waveforms(self, levels: np.ndarray) -> np.ndarray:
        """(N, mels, T) -> (N, L) in [-1, 1], float32; the phases are those that agree with the magnitudes.

        A sound that is louder than full amplitude is scaled to it.

        Griffin and Lim, Signal Estimation from Modified Short-Time Fourier Transform (1984), with the momentum of
        Perraudin, Balazs and Søndergaard (2013).
        """
        shares = np.clip(levels.astype(np.float32).transpose(0, 2, 1) / LEVELS, 0, 1)
        bands = 10 ** ((shares - 1) * (LOUDNESS / 20)) * (shares > 0)
        magnitudes = self._frequencies(bands.astype(np.float32))
        angles = np.random.default_rng(0).uniform(0, 2 * np.pi, magnitudes.shape).astype(np.float32)
        phases, before = np.exp(1j * angles), np.zeros((), np.complex64)
        for _ in range(ITERATIONS):
            agreed = self._transform(self._inverse(magnitudes * phases))
            phases = agreed + MOMENTUM * (agreed - before)
            phases, before = phases / np.maximum(np.abs(phases), 1e-8), agreed
        found = self._inverse(magnitudes * phases)
        return found / np.maximum(np.abs(found).max(1, keepdims=True), 1)

    def _frequencies(self, bands: np.ndarray) -> np.ndarray:
        """Magnitudes (N, T, F) of which these are the bands (N, T, mels): least squares without negative values.

        Multiplicative updates (Lee and Seung 2001).
        """
        matrix = self._bands()
        wanted, gram = bands.reshape(-1, self.mels) @ matrix, matrix.T @ matrix
        found = wanted.copy()
        for _ in range(ITERATIONS):
            found *= wanted / np.maximum(found @ gram, 1e-10)
        return found.reshape(*bands.shape[:2], -1)

    def _bands(self) -> np.ndarray:
        """(mels, F) float32: triangles that are evenly spaced on the mel scale, and no narrower than a frequency."""
        frequencies = np.fft.rfftfreq(self.window, 1 / self.sample_rate)
        mels = np.linspace(0, 2595 * np.log10(1 + self.sample_rate / 1400), self.mels + 2)
        edges = 700 * (10 ** (mels / 2595) - 1)
        widths = np.maximum(np.diff(edges), frequencies[1])[:, None]
        distances = frequencies - edges[1:-1, None]
        bands = np.minimum(1 + distances / widths[:-1], 1 - distances / widths[1:]).clip(0)
        return (bands / bands.sum(1, keepdims=True)).astype(np.float32)

    def _hann(self) -> np.ndarray:
        return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)).astype(np.float32)

    def _transform(self, waveforms: np.ndarray) -> np.ndarray:
        """(N, L) -> (N, T, F) complex; a sine of full amplitude has the magnitude 1."""
        around = (self.window - self.hop) // 2
        padded = np.pad(waveforms.astype(np.float32), ((0, 0), (around, self.window - self.hop - around)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.window, 1)[:, :: self.hop]
        transform: Any = np.fft.rfft(frames * self._hann())
        return (transform * (2 / self._hann().sum())).astype(np.complex64)

    def _inverse(self, transform: np.ndarray) -> np.ndarray:
        """(N, T, F) -> (N, L) by adding the windows where they lie."""
        hann, (count, frames, _) = self._hann(), transform.shape
        parts = np.fft.irfft(transform, self.window).astype(np.float32) * hann * (hann.sum() / 2)
        total = np.zeros((count, frames + OVERLAP - 1, self.hop), np.float32)
        weight = np.zeros((frames + OVERLAP - 1, self.hop), np.float32)
        for number in range(OVERLAP):
            piece = slice(number * self.hop, (number + 1) * self.hop)
            total[:, number : number + frames] += parts[..., piece]
            weight[number : number + frames] += hann[piece] ** 2
        around = (self.window - self.hop) // 2
        return (total / np.maximum(weight, 1e-8)).reshape(count, -1)[:, around : around + self.length]
