"""Data sets by name: what they hold, how the archives are read, and the command line, all from a loopback server."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loopback import Loopback, serving

from ganvae_core.builtin.sources import named
from ganvae_core.builtin.sources.downloads import Collection
from ganvae_core.builtin.sources.named import (
    CIFAR10,
    FASHION_MNIST,
    KMNIST,
    MNIST,
    Cifar10,
    FashionMnist,
    Kmnist,
    Mnist,
)
from ganvae_core.cli.main import main
from ganvae_core.config.options import component_options

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (12, 28, 28), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10
RECORDS = 4
BATCHES = ("data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin")
Named = type[Mnist] | type[FashionMnist] | type[Kmnist]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANVAE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(Loopback({})) as loopback:
        yield loopback


def idx(x: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">HBB{x.ndim}I", 0, 8, x.ndim, *x.shape) + x.tobytes(), mtime=0)


def serve(server: Loopback, known: Collection, contents: dict[str, bytes]) -> Collection:
    """A data set with the same names and classes and other files, which the server has."""
    server.files |= contents
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return Collection(known.name, (server.address,), known.files, hashes, known.classes)


def idx_files() -> dict[str, bytes]:
    return {
        "train-images-idx3-ubyte.gz": idx(IMAGES),
        "train-labels-idx1-ubyte.gz": idx(LABELS),
        "t10k-images-idx3-ubyte.gz": idx(IMAGES[:5]),
        "t10k-labels-idx1-ubyte.gz": idx(LABELS[:5]),
    }


def batch(number: int, count: int = RECORDS) -> tuple[np.ndarray, bytes]:
    """Images (N, 3, 32, 32), and their records, whose labels are the batch's number."""
    x = np.random.default_rng(number).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return x, b"".join(bytes([number]) + image.tobytes() for image in x)


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def members() -> dict[str, bytes]:
    """All of them, and in no good order."""
    batches = {name: batch(number)[1] for number, name in enumerate(BATCHES, 1)}
    named = {
        "readme.html": b"<html>",
        "test_batch.bin": batch(6)[1],
        **batches,
        "batches.meta.txt": b"airplane\n",
    }
    return dict(sorted(named.items(), key=lambda item: item[0][::-1]))


@pytest.mark.parametrize(
    ("source", "constant", "known"),
    [(Mnist, "MNIST", MNIST), (FashionMnist, "FASHION_MNIST", FASHION_MNIST), (Kmnist, "KMNIST", KMNIST)],
    ids=["mnist", "fashion-mnist", "kmnist"],
)
def test_a_part_is_images_with_named_labels(
    source: Named, constant: str, known: Collection, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named, constant, serve(server, known, idx_files()))
    train, test = source(), source(part="test")
    x, labels = train.rows(slice(None)).x, train.labels(slice(None))
    assert np.array_equal(x[:, 0], IMAGES)
    assert labels is not None
    assert labels.tolist() == LABELS.tolist()
    assert x.dtype == np.uint8
    assert np.shares_memory(x, train.rows(slice(3, 5)).x)
    assert (train.spec.shape, train.spec.range, train.spec.units.scale) == ((1, 28, 28), (0.0, 1.0), (255.0,))
    assert (train.spec.modality, train.spec.classes) == ("image", known.classes)
    assert np.array_equal(test.rows(slice(None)).x[:, 0], IMAGES[:5])
    assert test.spec.classes == known.classes  # though five rows do not have all of them
    assert sorted(server.asked) == sorted(server.files)


def test_class_names_are_words() -> None:
    assert FASHION_MNIST.classes[0] == "T-shirt/top"
    assert FASHION_MNIST.classes[9] == "Ankle boot"
    assert KMNIST.classes == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    assert CIFAR10.classes[:3] == ("airplane", "automobile", "bird")
    assert MNIST.classes[7] == "7"


@pytest.mark.parametrize("source", [Mnist, FashionMnist, Kmnist, Cifar10])
def test_every_option_is_explained(source: type) -> None:
    options = component_options(source)
    assert set(options) == {"part", "mirror"}
    assert options["part"].type_name == "train or test"
    assert all(option.summary for option in options.values())


def test_cifar_is_planes_of_colours_batch_after_batch(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = serve(server, CIFAR10, {"cifar-10-binary.tar.gz": archive(members())})
    monkeypatch.setattr(named, "CIFAR10", known)
    train, test = Cifar10(), Cifar10(part="test")
    x, labels = train.rows(slice(None)).x, train.labels(slice(None))
    assert labels is not None
    assert np.array_equal(x, np.concatenate([batch(number)[0] for number in range(1, 6)]))
    assert labels.tolist() == np.repeat(np.arange(1, 6), RECORDS).tolist()
    spec = train.spec
    assert spec.classes == CIFAR10.classes
    assert (spec.shape, spec.modality, spec.count, x.dtype) == ((3, 32, 32), "image", 20, np.uint8)
    x, labels = test.rows(slice(None)).x, test.labels(slice(None))
    assert labels is not None
    assert np.array_equal(x, batch(6)[0])
    assert set(labels.tolist()) == {6}
    assert server.asked == ["cifar-10-binary.tar.gz"]


def test_mnist_comes_from_a_mirror_and_then_from_the_cache(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"mnist/{path.name}": path.read_bytes() for path in (data_dir / "mnist").iterdir()}
    with serving(Loopback(files)) as server:
        assert main(["data", "mnist", f"data.mirror={server.address}/mnist/"]) == 0
    said = capsys.readouterr().out
    assert "60,000 images of 28 × 28" in said
    assert "0 (5,923) · 1 (6,742)" in said
    assert server.asked == ["mnist/train-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz"]
    labels = Mnist().rows(slice(10)).labels
    assert labels is not None
    assert labels.tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_a_run_trains_on_data_by_name_from_a_folder(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = ["engine.steps=2", "engine.batch_size=16", "engine.device=cpu", "generator.hidden=[4]"]
    arguments = [
        "--quiet",
        "--plugin",
        "vae",
        "--data",
        "mnist",
        "data.part=test",
        "encoder.hidden=[4]",
        *small,
    ]
    assert main(["run", "--out", str(out), f"data.mirror={data_dir}/mnist", *arguments]) == 0
    assert "builtin/mnist" in (out / "config.yaml").read_text()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist", "cifar10"])
def test_the_command_line_says_what_to_do_without_a_connection(
    name: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Loopback({})) as server:
        pass
    assert main(["data", name, f"data.mirror={server.address}/"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: '{name}' is not on this machine, and ")
    assert "Connection refused" in said.err
    assert f"into {cache / name}\n" in said.err


def test_a_part_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "mnist", "data.part=tets"]) == 2
    assert "Did you mean 'test'?" in capsys.readouterr().err


PROBE = """
import sys
{code}
print(*[name for name in ("pooch", "requests", "filelock", "torch") if name in sys.modules])
"""


@pytest.mark.parametrize(
    "code",
    [
        "from ganvae_core.cli import main; main(['components', 'source'])",
        "import ganvae_core.builtin.sources.downloads",
    ],
)
def test_nothing_that_downloads_is_imported_before_it_is_needed(code: str) -> None:
    command = [sys.executable, "-c", PROBE.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == ""
    assert ("cifar10" in done.stdout) == ("components" in code)
