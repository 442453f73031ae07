"""A VAE of 784-400-40 on binarised MNIST, written by hand and trained as it was published.

It asks how far the published protocol comes on a draw of our own of the binary images: the draw of Larochelle and
Murray (2011) is not at hand. Protocol as quoted from pythae's table of reproductions: one layer of 400 ReLUs either
side, codes of 40 numbers, batches of 100 of the first 50,000 images, 500 passes, Adam at 1e-4, times 10^-0.2 from
passes 200 and 350 on; the estimate takes 200 importance samples of each of the 10,000 test images.

    GANVAE_DATA_DIR=FOLDER python benchmarks/published_vae.py
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

import click
import torch
from machine import machine
from torch import Tensor, nn
from torch.nn import functional

from ganvae_core.builtin.sources.idx import read_idx

ROWS, BATCH, PASSES = 50_000, 100, 500
RATE, SLOWER, FROM_PASSES = 1e-4, 10**-0.2, (200, 350)
DRAWS = 200
RESULT = Path(__file__).parent / "results" / "published_vae.json"


class VAE(nn.Module):
    """x (B, 784) of 0 and 1, codes z (B, 40)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 80))
        self.decoder = nn.Sequential(nn.Linear(40, 400), nn.ReLU(), nn.Linear(400, 784))

    def loss(self, x: Tensor) -> Tensor:
        """The negative evidence lower bound in nats, averaged over rows."""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        logits = self.decoder(mean + (log_variance / 2).exp() * torch.randn_like(mean))
        reconstruction = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2
        return (reconstruction + kl) / len(x)

    @torch.no_grad()
    def importance_bound(self, x: Tensor) -> float:
        """Minus the importance-weighted bound of log p(x) in nats, averaged over rows."""
        bounds: list[Tensor] = []
        for rows in x.split(100):
            mean, log_variance = self.encoder(rows).chunk(2, -1)
            noise = torch.randn(DRAWS, *mean.shape)
            z = mean + (log_variance / 2).exp() * noise
            logits = self.decoder(z)
            log_x = -functional.binary_cross_entropy_with_logits(
                logits, rows.expand_as(logits), reduction="none"
            ).sum(-1)
            log_weights = log_x + (noise**2 + log_variance - z**2).sum(-1) / 2
            bounds.append(math.log(DRAWS) - torch.logsumexp(log_weights, 0))
        return torch.cat(bounds).mean().item()


@click.command(help=__doc__)
@click.option("--passes", type=click.IntRange(min=1), default=PASSES, show_default=True)
def main(passes: int) -> None:
    """Train, print the estimate every 50 passes, and store the last one where all passes were made."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    folder, draw = Path(os.environ["GANVAE_DATA_DIR"]) / "mnist", torch.Generator().manual_seed(1)
    train, test = (
        torch.bernoulli(torch.from_numpy(read_idx(folder / name)).flatten(1) / 255, generator=draw)
        for name in ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
    )
    train, model, began = train[:ROWS], VAE(), time.perf_counter()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    for number in range(passes):
        rate = RATE * SLOWER ** sum(number >= begins for begins in FROM_PASSES)
        optimizer.param_groups[0]["lr"] = rate
        for rows in torch.randperm(len(train)).split(BATCH):
            optimizer.zero_grad()
            model.loss(train[rows]).backward()
            optimizer.step()
        if (number + 1) % 50 == 0 or number + 1 == passes:
            seconds = time.perf_counter() - began
            print(
                f"{number + 1} passes, {seconds:.0f} s: {model.importance_bound(test[:1000]):.2f} nats of 1,000 images"
            )
    result = {
        "test": model.importance_bound(test),
        "training": model.importance_bound(train[:2000]),
        "seconds": time.perf_counter() - began,
        "machine": machine(),
    }
    print(f"{result['test']:.2f} nats of all test images, {result['training']:.2f} of 2,000 training images")
    if passes == PASSES:
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
