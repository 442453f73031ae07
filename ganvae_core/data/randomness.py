"""Random numbers as a function of (seed, what for, position): there is no random state to save."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch

_MASK = (1 << 64) - 1
ROUNDS = 12
"""Of the network that permutes. Their number is even, so that both halves end with the widths they had."""


def mixed_seed(*parts: int) -> int:
    """A 64-bit seed from whole numbers: SplitMix64 (Steele et al. 2014) over the parts in turn."""
    state = 0
    for part in parts:
        state = (state ^ (part & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def permuted(positions: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(N,) the images of ``positions`` under a permutation of ``range(count)`` that follows from a seed.

    Nothing of the size of ``count`` is stored: a Feistel network (Luby and Rackoff 1988) permutes the numbers below the
    next power of two, and images that are too large are permuted again until they are not (Black and Rogaway 2002).
    """
    bits = max(2, (count - 1).bit_length())
    widths = (bits // 2, bits - bits // 2)
    keys = [mixed_seed(seed, number) for number in range(ROUNDS)]
    images = positions.astype(np.uint64)
    walking = np.arange(len(images))
    while len(walking):
        left, right = images[walking] >> widths[1], images[walking] & ((1 << widths[1]) - 1)
        for number, key in enumerate(keys):
            mixed = (right ^ key) * 0xBF58476D1CE4E5B9
            mixed = (mixed ^ mixed >> 32) * 0x94D049BB133111EB
            left, right = right, left ^ mixed >> (64 - widths[number % 2])
        images[walking] = left << widths[1] | right
        walking = walking[images[walking] >= count]
    return images.astype(np.int64)


def purpose(name: str) -> int:
    """An integer for a purpose of random numbers, derived from its description."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def default_generator(device: torch.device) -> torch.Generator:
    """The generator that ``torch.randn(..., device=device)`` draws from.

    Seeding it alone takes about a microsecond; ``torch.manual_seed`` seeds every device there is.
    """
    if device.type == "cpu":
        return torch.default_generator
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index  # pyright: ignore[reportUnnecessaryComparison]
        return torch.cuda.default_generators[index]
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()  # pyright: ignore[reportPrivateUsage]
    module = torch.get_device_module(device)
    return module.default_generators[device.index or 0]


@contextmanager
def borrowed_randomness(device: torch.device) -> Generator[torch.Generator]:
    """A context with the device's default generator, whose state is restored at the end."""
    generator = default_generator(device)
    state = generator.get_state()
    try:
        yield generator
    finally:
        generator.set_state(state)


@contextmanager
def seeded(device: torch.device, seed: int) -> Generator[None]:
    """A context in which the device's default generator starts from a seed, and after which it is as before."""
    with borrowed_randomness(device) as generator:
        generator.manual_seed(seed)
        yield
