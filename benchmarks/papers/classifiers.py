"""Classifiers that judge samples, trained on real images with fixed seeds. Their accuracy is reported with results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import safetensors.torch
import torch
from datasets import MNIST_SIDE, mnist, resized
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn import functional

from ganvae_core.data.randomness import borrowed_randomness
from ganvae_core.store.files import whole_file

JudgeName = Literal["digits-svm", "mnist-cnn"]
EPOCHS, BATCH, LEARNING_RATE = 4, 128, 2e-3
CHUNK = 1_000
CNN_VERSION = 1
"""To be raised with each change of the network or of its training: weights that are stored have it in their name."""


@dataclass(frozen=True)
class Judge:
    """A trained classifier of single grey images.

    Args:
        accuracy: percent, on real images that it was not trained on.
        held_out: how many these were.
        identity: the beginning of the SHA-256 of what it learned: values of different judges are not comparable.
        predict: (N, 1, H, W) in the data's own units -> (N,) classes.
        features: (N, 1, H, W) -> (N, F) the layer before the last, for those that have one.
    """

    accuracy: float
    held_out: int
    identity: str
    predict: Callable[[np.ndarray], np.ndarray]
    features: Callable[[np.ndarray], np.ndarray] | None = None

    def as_dict(self) -> dict[str, float | str]:
        """What is stored with a result."""
        return {"accuracy": self.accuracy, "held_out": self.held_out, "identity": self.identity}


class Judges:
    """Judges by name, each made when it is first asked for.

    Args:
        folder: where trained weights are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, Judge] = {}

    def get(self, name: JudgeName) -> Judge:
        """The judge of that name; training it takes up to some minutes, the first time."""
        if name not in self._made:
            self._made[name] = digits_svm() if name == "digits-svm" else mnist_cnn(self.folder)
        return self._made[name]


def digits_svm() -> Judge:
    """A support vector machine on three quarters of scikit-learn's digits, with the γ of scikit-learn's own example."""
    x, labels = load_digits(return_X_y=True)
    known, others, known_labels, other_labels = train_test_split(
        x, labels, test_size=0.25, random_state=0, stratify=labels
    )
    machine = SVC(gamma=0.001).fit(known, known_labels)  # pyright: ignore[reportArgumentType]

    def predict(images: np.ndarray) -> np.ndarray:
        return machine.predict(images.reshape(len(images), -1).astype(np.float64))

    accuracy = 100.0 * float((machine.predict(others) == other_labels).mean())
    return Judge(accuracy, len(others), _identity(machine.dual_coef_), predict)


@final
class DigitNet(nn.Module):
    """Two convolutions with pooling, a hidden layer of 128 units, ten logits. Images (N, 1, 28, 28) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # (N, 16, 14, 14)
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # (N, 32, 7, 7)
            nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


def mnist_cnn(folder: Path) -> Judge:
    """``DigitNet``, trained on MNIST's 60,000 training images, its weights kept in the folder."""
    path = folder / f"mnist-cnn-{CNN_VERSION}.safetensors"
    net = DigitNet()
    if path.is_file():
        net.load_state_dict(safetensors.torch.load_file(path))
    else:
        train_digit_net(net, *mnist("train"), epochs=EPOCHS)
        with whole_file(path) as file:
            file.write(safetensors.torch.save(net.state_dict()))
    net.eval()

    def through(images: np.ndarray, module: nn.Module) -> np.ndarray:
        with torch.no_grad():
            return torch.cat([module(part) for part in _scaled(images).split(CHUNK)]).numpy()

    images, labels = mnist("test")
    accuracy = 100.0 * float((through(images, net).argmax(1) == labels).mean())
    return Judge(
        accuracy,
        len(labels),
        _identity(*(value.numpy() for value in net.state_dict().values())),
        lambda images: through(images, net).argmax(1),
        lambda images: through(images, net.trunk),
    )


def train_digit_net(net: DigitNet, images: np.ndarray, labels: np.ndarray, *, epochs: int) -> None:
    """Train in place with Adam at 2e-3, falling to zero over the epochs as a cosine; a function of the data alone.

    Sums depend on how many threads share them, so there is one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with borrowed_randomness(torch.device("cpu")) as generator:
            generator.manual_seed(0)
            for module in net.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.reset_parameters()
            _fit(net, _scaled(images), torch.from_numpy(labels), epochs)
    finally:
        torch.set_num_threads(threads)


def _fit(net: DigitNet, x: Tensor, labels: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(BATCH):
            loss = functional.cross_entropy(net(x[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _scaled(images: np.ndarray) -> Tensor:
    """(N, 1, H, W) uint8 -> (N, 1, 28, 28) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(resized(images, MNIST_SIDE))).float() / 255


def _identity(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
