"""Holds the metrics against other implementations and published values, and writes what was found.

    python benchmarks/metric_oracles.py

Fréchet and kernel distances are compared with torch-fidelity's functions of features (``pip install torch-fidelity``),
and our Inception with its own, by random weights. Precision, recall, density and coverage are compared with the values
published for two samples of 10,000 draws of N(0, I) in 1,000 dimensions, k = 5 (Naeem et al. 2020).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from ganvae_metrics import distances
from ganvae_metrics.inception import Inception, load_inception

RESULTS = Path(__file__).parent / "results" / "metric_oracles.json"
PUBLISHED = {"precision": 0.4772, "recall": 0.4705, "density": 1.0555, "coverage": 0.9735}


def features(count: int, size: int, seed: int) -> torch.Tensor:
    """Correlated features with unequal scales."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=torch.Generator().manual_seed(0)) / size**0.5
    return torch.randn(count, size, generator=generator) @ mixing + 0.1 * seed


def normal(seed: int) -> torch.Tensor:
    return torch.randn(10_000, 1_000, generator=torch.Generator().manual_seed(seed))


def fidelity() -> tuple[ModuleType, ModuleType]:
    """torch-fidelity's Fréchet and kernel distances, with torchvision replaced where it cannot be imported."""
    try:
        import torchvision  # pyright: ignore  # noqa: F401
    except (ImportError, RuntimeError):
        for name in ("torchvision", "torchvision.datasets", "torchvision.transforms",
                     "torchvision.transforms.functional", "torchvision.models"):  # fmt: skip
            sys.modules[name] = MagicMock()
    from torch_fidelity import metric_fid, metric_kid  # pyright: ignore

    return metric_fid, metric_kid


def inception() -> dict[str, float]:
    """The largest difference between Inception's features by both implementations, of the same random weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # pyright: ignore

    torch.manual_seed(0)
    net = Inception()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as if it were trained: features would vanish
            torch.nn.init.uniform_(module.weight, 0.5, 2.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
    images = torch.randint(0, 256, (4, 3, 32, 40), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(net.state_dict(), path)
        theirs = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
        with torch.no_grad():
            (wanted,), found = theirs(images), load_inception(path)(images.float())
    return {"largest_difference": float((found - wanted).abs().max()), "largest_feature": float(wanted.abs().max()),
            "spread_of_features": float(wanted.std())}  # fmt: skip


def main() -> None:
    metric_fid, metric_kid = fidelity()
    first, second = features(2_000, 64, 1), features(1_500, 64, 2)
    moments = [metric_fid.fid_features_to_statistics(rows.double()) for rows in (first, second)]
    theirs = metric_fid.fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
    # All rows in one subset, so that both are the estimate over all pairs.
    count = len(second)
    kernel = metric_kid.kid_features_to_metric(
        first[:count].double(), second.double(), kid_subsets=1, kid_subset_size=count, verbose=False,
        kid_degree=3, kid_gamma=None, kid_coef0=1, rng_seed=0,
    )["kernel_inception_distance_mean"]  # fmt: skip
    found: dict[str, Any] = {
        "frechet": {"ours": distances.frechet_distance(first, second), "torch-fidelity": float(theirs)},
        "kernel": {
            "ours": distances.kernel_distance(first[:count], second).value,
            "torch-fidelity": float(kernel),
        },
    }
    for name, pair in list(found.items()):
        print(f"{name:10} ours {pair['ours']:.6f}   torch-fidelity {pair['torch-fidelity']:.6f}")
    found["inception"] = inception()
    print(f"inception  {found['inception']}")
    draws = [
        distances.manifolds(normal(2 * number), normal(2 * number + 1), nearest=5)._asdict()
        for number in range(4)
    ]
    for name, value in PUBLISHED.items():
        ours = [draw[name] for draw in draws]
        found[name] = {"ours": statistics.mean(ours), "spread": statistics.stdev(ours), "published": value}
        print(
            f"{name:10} ours {statistics.mean(ours):.4f} ± {statistics.stdev(ours):.4f} of a draw   published {value}"
        )
    RESULTS.write_text(json.dumps(found | {"torch": torch.__version__}, indent=2) + "\n")


if __name__ == "__main__":
    main()
