"""Directions: found where theory says they are, stored by name, and edits along them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import torch
from command_line import Say, size_of

import ganvae_core as gv
from ganvae_core.latent import (
    closed_form_directions,
    mean_difference,
    moved,
    pca_directions,
    supervised_direction,
)

DATA = gv.DataSpec((3,), None)


class Doubled(gv.Generator):
    """No linear layer comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))

    def forward(self, z: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return z * self.scale


def test_principal_components_of_a_layer_are_what_it_stretches_most() -> None:
    torch.manual_seed(0)
    codes = torch.randn(20_000, 2)
    model = gv.Model(gv.MLPGenerator([2], (3,), hidden=(3,)), gv.StandardNormal([2]), gv.Point(DATA)).eval()
    with torch.no_grad():
        first = model.generator.layers[0]
        first.weight.copy_(torch.tensor([[4.0, 4.0], [1.0, -1.0], [0.0, 0.0]]))
    found, shares = pca_directions(model, codes, 2, layer="layers.0")
    torch.testing.assert_close(found[0].abs(), torch.full((2,), 0.5**0.5), atol=0.02, rtol=0)
    assert shares[0] > 0.9
    own, _ = pca_directions(model, codes * torch.tensor([1.0, 5.0]), 1)
    assert own[0, 1] > 0.99
    closed, stretch = closed_form_directions(model, (2,), 2)
    torch.testing.assert_close(closed[0], torch.full((2,), 0.5**0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(stretch, torch.tensor([32.0, 2.0]).sqrt())
    with pytest.raises(gv.ConfigurationError, match="no layer 'layers"):
        pca_directions(model, codes, 1, layer="layers.9")
    with pytest.raises(gv.ConfigurationError, match="from 1 to 2, not 3"):
        pca_directions(model, codes, 3)
    with pytest.raises(gv.ConfigurationError, match="does not begin with"):
        closed_form_directions(gv.Model(Doubled(), gv.StandardNormal([2]), gv.Point(DATA)), (2,), 1)


def test_a_convolution_of_codes_has_first_weights_too() -> None:
    class Convolved(gv.Generator):
        def __init__(self) -> None:
            super().__init__()
            self.up = torch.nn.ConvTranspose2d(2, 1, 2, bias=False)

        def forward(self, z: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
            return self.up(z[:, :, None, None])

    generator = Convolved()
    with torch.no_grad():
        generator.up.weight.copy_(torch.tensor([[[[0.0, 3.0], [4.0, 0.0]]], [[[1.0, 0.0], [0.0, 0.0]]]]))
    spec = gv.DataSpec((1, 2, 2), None, "image")
    found, stretch = closed_form_directions(
        gv.Model(generator, gv.StandardNormal([2]), gv.Point(spec)), (2,), 2
    )
    torch.testing.assert_close(stretch, torch.tensor([5.0, 1.0]))
    torch.testing.assert_close(found, torch.eye(2))


def test_a_supervised_direction_is_where_the_attribute_lies() -> None:
    torch.manual_seed(0)
    codes = torch.randn(500, 4)
    there = (codes[:, 1] + 0.1 * torch.randn(500) > 0).numpy()
    found, score = supervised_direction(codes, there)
    assert found[1] > 0.97
    assert score > 0.9
    slope, score = supervised_direction(codes, (2 * codes[:, 2] - codes[:, 3]).numpy())
    torch.testing.assert_close(slope, torch.tensor([0, 0, 2, -1]) / 5**0.5, atol=0.01, rtol=0)
    assert score > 0.99
    aside, _ = supervised_direction(
        codes, (codes[:, 2] - codes[:, 3]).numpy(), orthogonal_to=torch.eye(4)[2:3]
    )
    assert abs(aside[2]) < 1e-6
    assert aside[3] < -0.99
    with pytest.raises(gv.ConfigurationError, match="at least 4"):
        supervised_direction(codes, np.arange(500) < 2)
    with pytest.raises(gv.ConfigurationError, match="nothing is left"):
        supervised_direction(codes, there, orthogonal_to=torch.eye(4))
    torch.testing.assert_close(mean_difference(codes, there), codes[there].mean(0) - codes[~there].mean(0))
    torch.testing.assert_close(moved(codes, found, 2.0), codes + 2 * found)


def test_directions_are_kept_by_name_and_edits_use_them(runs: Path, tmp_path: Path, say: Say) -> None:
    run, output = runs / "vae", tmp_path / "out.png"
    assert say("directions", run, "--by", "pca", "-n", "2", "-o", output).code == 0
    assert size_of(output) == (7 * 58 - 2, 16 + 2 * 58 - 2)
    assert say("directions", run, "--by", "pca", "--layer", "layers.1", "-n", "2", "--name", "deep").code == 0
    assert say("directions", run, "--by", "sefa", "-n", "1").code == 0
    outcome = say("directions", run, "--of", "3", "--name", "three", "--keep", "pca-1")
    assert outcome.code == 0, outcome.err
    stored = {path.stem for path in (run / "directions").glob("*.safetensors")}
    assert stored == {"pca-1", "pca-2", "deep-1", "deep-2", "sefa-1", "three"}
    assert say("edit", run, "--rows", "1,2,3", "--direction", "three=2", "-o", output).code == 0
    assert size_of(output) == (3 * 58 - 2, 3 * 58 - 2)
    before, after = tmp_path / "before.npy", tmp_path / "after.npy"
    for amount, file in (("0", before), ("1.5", after)):
        say("edit", run, "--direction", f"three={amount}", "--direction", "pca-1=0", "-o", file)
    assert not np.array_equal(np.load(before), np.load(after))
    assert say("edit", run, "--arithmetic", "8 - 3 + 1", "-o", output).code == 0
    assert size_of(output) == (4 * 58 - 2, 16 + 56)


def test_a_direction_of_a_column_moves_rows_of_a_table(runs: Path, tmp_path: Path, say: Say) -> None:
    assert say("directions", runs / "table", "--of", "height").code == 0
    output = tmp_path / "moved.csv"
    assert say("edit", runs / "table", "--rows", "0,1", "--direction", "height=2", "-o", output).code == 0
    assert (
        pyarrow.csv.read_csv(output)["version"].to_pylist() == ["row"] * 2 + ["unedited"] * 2 + ["edited"] * 2
    )
    assert say("directions", runs / "mixed", "--of", "size=small").code == 0
    assert say("edit", runs / "mixed", "--direction", "size-small=2", "-o", output).code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("directions", "table", "--by", "label", "--of", "x"), "no labels"),
        (("directions", "vae", "--by", "column", "--of", "x"), "not a table with named columns"),
        (("directions", "vae", "--by", "label"), "which label?"),
        (("directions", "table", "--of", "hight"), "Did you mean 'height'?"),
        (("directions", "mixed", "--of", "size"), "like  --of size=large"),
        (("directions", "mixed", "--of", "size=smal"), "Did you mean 'small'?"),
        (("directions", "mixed", "--of", "height=3"), "like  --of height"),
        (("directions", "vae", "--by", "pca", "--of", "3"), "pca takes none"),
        (("directions", "vae", "--by", "pca", "--name", ""), "--name: it is empty"),
        (("edit", "vae", "--direction", "three=1", "--image", "no.png"), "no file 'no.png'"),
        (("edit", "vae", "--direction", "smile=1"), "no direction 'smile'"),
        (("edit", "vae", "--direction", "../x=1"), "is not the name of a direction"),
        (("edit", "vae", "--direction", "three"), "not NAME=AMOUNT"),
        (("edit", "vae", "--arithmetic", "8 - eleven"), "neither a label nor a file"),
        (("edit", "vae", "--arithmetic", "8"), "is not a sum"),
        (("edit", "vae"), "give either"),
    ],
)
def test_what_cannot_be_done_is_refused(
    words: tuple[str, ...], message: str, runs: Path, tmp_path: Path, say: Say
) -> None:
    verb, run, *more = words
    outcome = say(verb, runs / run, *more, "-o", tmp_path / "out.npz")
    assert outcome.code == 2, outcome
    assert message in outcome.err


def test_a_damaged_direction_is_named(runs: Path, tmp_path: Path, say: Say) -> None:
    file = runs / "vae" / "directions" / "torn.safetensors"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"\x08\0\0\0\0\0\0\0")
    outcome = say("edit", runs / "vae", "--direction", "torn=1", "-o", tmp_path / "out.npz")
    file.unlink()
    assert outcome.code == 2
    assert "is not a direction that ganvae wrote" in outcome.err


def test_without_an_encoder_samples_are_sorted_by_a_classifier(
    runs: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bright(_: object) -> object:
        def classes(x: torch.Tensor) -> torch.Tensor:
            brightness = x.flatten(1).mean(1)
            return (brightness > brightness.median()).long()

        return classes

    monkeypatch.setattr("ganvae_latent.directions_verb.classifier_of", bright)
    outcome = say("directions", runs / "gan", "--of", "1", "--name", "bright", "-o", tmp_path / "bright.npz")
    assert outcome.code == 0, outcome.err
    assert float(outcome.out.splitlines()[1].split()[1]) > 0.9
    with np.load(tmp_path / "bright.npz") as made:
        rows, amounts = made["samples"], made["amounts"]
    brightness = rows.reshape(len(rows), -1).mean(1)
    assert brightness[amounts == amounts.max()].mean() > brightness[amounts == amounts.min()].mean()
