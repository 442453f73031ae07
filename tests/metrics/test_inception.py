"""The network of the Fréchet inception distance: its weights come from a file that the user names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ganvae_metrics.inception import Inception, load_inception, resized
from ganvae_metrics.nets import net_of
from ganvae_metrics.samples import FrechetDistance
from safetensors.torch import save_file

import ganvae_core as gv
from ganvae_core.evaluation.subject import ModelSubject


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with random weights, as old files are: without the counts of batches."""
    torch.manual_seed(0)
    tensors = {name: value for name, value in Inception().state_dict().items() if "num_batches" not in name}
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(tensors, path)
    return path


def test_the_tensors_are_those_of_the_published_file(weights: Path) -> None:
    tensors = torch.load(weights, weights_only=True)
    learned = 23_834_568 + 8 * 2_049  # torchvision's without its auxiliary classifier, and 8 classes more
    assert len(tensors) == 94 * 5 + 2  # convolutions with four tensors of batch norm each, and the classifier
    assert sum(value.numel() for name, value in tensors.items() if "running" not in name) == learned
    assert tensors["Mixed_6b.branch7x7_2.conv.weight"].shape == (128, 128, 1, 7)
    assert tensors["Mixed_7c.branch3x3dbl_3b.bn.running_var"].shape == (384,)
    assert tensors["fc.weight"].shape == (1_008, 2_048)


def test_images_are_resized_with_pixels_at_their_corners() -> None:
    x = torch.tensor([[0.0, 4.0], [8.0, 12.0]]).reshape(1, 1, 2, 2)
    expected = [[0, 2, 4, 4], [4, 6, 8, 8], [8, 10, 12, 12], [8, 10, 12, 12]]
    torch.testing.assert_close(resized(x, 4)[0, 0], torch.tensor(expected, dtype=torch.float32))


def subject(count: int = 4) -> ModelSubject:
    """Grey images of 8 × 8 pixels in [-1, 1], half of them held out."""
    images = torch.rand(2 * count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    spec = gv.DataSpec((1, 8, 8), (-1.0, 1.0), "image")
    data = gv.split(gv.as_source(2 * images - 1), held_out=0.5)
    model = gv.Model(gv.MLPGenerator([2], (1, 8, 8), hidden=(4,)), gv.StandardNormal([2]), gv.Point(spec))
    return ModelSubject(model.eval(), data)


def test_features_come_from_the_file_that_the_user_names(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAE_INCEPTION", str(weights))
    x = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    found = net_of(subject(), "inception").features(x)
    save_file(torch.load(weights, weights_only=True), tmp_path / "weights.safetensors")
    levels = (127.5 * (x + 1)).round().expand(1, 3, 8, 8)
    torch.testing.assert_close(found, load_inception(tmp_path / "weights.safetensors")(levels))
    assert found.shape == (1, 2_048)


def test_without_weights_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = FrechetDistance(net="inception")
    assert metric.figures[0].name == "fd_inception"
    monkeypatch.delenv("GANVAE_INCEPTION", raising=False)
    with pytest.raises(gv.NotApplicable, match="set GANVAE_INCEPTION to the path of pt_inception"):
        metric.measure(subject())
    for name, content, reason in (("none.pth", None, "there is no file"), ("text.pth", b"hello", "does not hold"),
                                  ("text.safetensors", b"hello", "does not hold")):  # fmt: skip
        if content is not None:
            (tmp_path / name).write_bytes(content)
        monkeypatch.setenv("GANVAE_INCEPTION", str(tmp_path / name))
        with pytest.raises(gv.ConfigurationError, match=reason):
            metric.measure(subject())
    torch.save({"fc.weight": torch.zeros(1_008, 2_048), "other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(gv.ConfigurationError, match="1 other tensors, and lacks 471"):
        load_inception(tmp_path / "other.pth")
