"""Metrics of reconstructions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

import ganvae_core as gv

SMALLEST_SIDE = 11
"""Of the images that the structural similarity's window fits in."""


@final
class Fidelity(gv.Metric):
    """How near reconstructions of held-out rows are: mean squared error, PSNR and, of images, SSIM.

    The error is a mean over entries in the model's range, of the observed ones where values are missing. The peak
    signal-to-noise ratio is each row's, averaged; SSIM is Wang et al.'s (2004) as torchmetrics computes it. Both favour
    blurs: an image of the right texture in the wrong place scores less than its mean.

    Args:
        rows: held-out rows that are measured at most, evenly spread.
    """

    needs = frozenset(("encoder",))
    cheap = False
    figures = (
        gv.Figure("mse", "MSE", "", "lower"),
        gv.Figure("psnr", "PSNR", "dB", "higher", "data within a range"),
        gv.Figure(
            "ssim", "SSIM", "", "higher", f"images of {SMALLEST_SIDE} × {SMALLEST_SIDE} pixels and more"
        ),
    )

    def __init__(self, *, rows: int = 2_000) -> None:
        gv.in_range(least=1, rows=rows)
        self.rows = rows

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``mse``; ``psnr`` where the data has a range; ``ssim`` of images of 11 × 11 pixels and more."""
        if subject.spec.modality == "text":
            raise gv.NotApplicable("token numbers are not quantities")
        errors: list[Tensor] = []
        similarities: list[Tensor] = []
        similar = subject.spec.modality == "image" and min(subject.spec.shape[1:]) >= SMALLEST_SIDE
        for batch in subject.held_out(self.rows):
            made = subject.reconstructions(batch)
            squares = (made - batch.x).square().flatten(1)
            if batch.mask is None:
                errors.append(squares.mean(1).double().cpu())
            else:
                seen = batch.mask.flatten(1)
                errors.append(((squares * seen).sum(1) / seen.sum(1).clamp(min=1)).double().cpu())
            if similar and subject.spec.range is not None:
                similarities.append(_similarity(made, batch.x, subject.spec.range).double().cpu())
        if not errors:
            raise gv.NotApplicable("no rows are held out")
        mse = torch.cat(errors)
        values = {"mse": float(mse.mean())}
        if subject.spec.range is not None:
            width = subject.spec.range[1] - subject.spec.range[0]
            tiny = (width * 1e-6) ** 2  # a perfect reconstruction has 120 dB and not infinitely many
            values["psnr"] = float((20 * math.log10(width) - 10 * mse.clamp(min=tiny).log10()).mean())
        if similarities:
            values["ssim"] = float(torch.cat(similarities).mean())
        return values


def _similarity(made: Tensor, x: Tensor, limits: tuple[float, float]) -> Tensor:
    """(B,) the structural similarity of each pair of images (B, C, H, W)."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    low, high = limits
    found = structural_similarity_index_measure(
        made.clamp(low, high), x, data_range=high - low, reduction="none"
    )
    assert isinstance(found, Tensor)
    return found
