"""Exported parts give what torch gives, with the units of the data inside, for any number of rows."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Say
from torch import Tensor

import ganvae_core as gv
from ganvae_core.latent.export import ExportedPart, FromModel, ToModel, as_program, difference

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxscript") is None, reason="needs ganvae[onnx]")


def test_bytes_go_in_and_come_out(runs: Path, tmp_path: Path, say: Say) -> None:
    file = tmp_path / "both.pt2"
    outcome = say("export", runs / "vae", "--part", "reconstruct", "-o", file)
    assert outcome.code == 0, outcome.err
    run = gv.load(runs / "vae")
    data = run.open_data()
    rows = data.source.rows(np.arange(3)).x
    made = torch.export.load(file).module()(torch.from_numpy(rows))
    assert made.dtype == torch.uint8
    with torch.no_grad():
        expected = run.model.reconstruct(run.batch(data, np.arange(3)).x) * 16
    np.testing.assert_array_equal(made.numpy(), expected.round().numpy())


def test_noise_becomes_rows_of_an_array(runs: Path, tmp_path: Path, say: Say) -> None:
    file = tmp_path / "made.pt2"
    assert say("export", runs / "array", "--part", "sample", "-o", file).code == 0
    made = torch.export.load(file).module()(torch.randn(7, 2))
    assert made.shape == (7, 3)
    assert (made[:, 2] == 5).all()  # a column that never varies is returned exactly
    assert (made[:, 1] > 1000).all()


def test_of_a_table_codes_become_the_numbers_of_a_model(runs: Path, tmp_path: Path, say: Say) -> None:
    file = tmp_path / "decoder.pt2"
    outcome = say("export", runs / "mixed", "-o", file)
    assert outcome.code == 0, outcome.err
    made = torch.export.load(file).module()(torch.randn(7, 2))
    spec = gv.load(runs / "mixed").spec
    assert made.shape == (7, *spec.shape)
    chosen = next(field for field in spec.fields or () if not field.numbers)
    assert torch.allclose(made[:, chosen.start : chosen.start + chosen.width].sum(1), torch.ones(7))


@needs_onnx
@pytest.mark.parametrize(
    ("run", "part"), [("vae", "encoder"), ("array", "reconstruct"), ("cgan", "sample"), ("cgan", "critic")]
)
def test_onnx_files_are_within_1e_5_of_torch(
    run: str, part: str, runs: Path, tmp_path: Path, say: Say
) -> None:
    file = tmp_path / "part.onnx"
    outcome = say("export", runs / run, "--part", part, "-o", file)
    assert outcome.code == 0, outcome.err
    assert "of torch" in outcome.err
    assert file.stat().st_size > 100


@needs_onnx
def test_the_steps_of_flow_matching_are_part_of_the_graph() -> None:
    from ganvae_core.latent.export import as_onnx, run_onnx

    torch.manual_seed(0)
    spec = gv.DataSpec((3,), None)
    prior = gv.LatentFlow([2], width=8, layers=1, steps=3)
    prior.standardise(torch.tensor([1.0, -1.0]), torch.tensor([3.0, 5.0]))
    model = gv.Model(gv.MLPGenerator([2], (3,), hidden=(4,)), prior, gv.Point(spec)).eval()
    noise = torch.randn(5, 2)
    graph = as_onnx(ExportedPart(model, spec, "sample").eval()).model_proto.SerializeToString()
    with torch.no_grad():
        torch.testing.assert_close(run_onnx(graph, (noise,)), model(prior.from_noise(noise)))


class OfPairs(gv.Critic):
    """A critic of rows and codes."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        gv.check_condition(condition, (2,))
        return x.sum(1)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return x


def test_random_parts_and_critics_of_pairs_are_refused_in_words() -> None:
    fields = (gv.Field("kind", "category", 0, 3, categories=("x", "y", "z")),)
    spec = gv.DataSpec((3,), None, fields=fields)
    model = gv.Model(gv.MLPGenerator([2], (3,), hidden=(4,)), gv.StandardNormal([2]), gv.Point(spec)).eval()
    with pytest.raises(gv.ConfigurationError, match="MLPGenerator or Point draws at random"):
        as_program(ExportedPart(model, spec, "generator").eval())
    with pytest.raises(gv.ConfigurationError, match="the critic takes more than rows"):
        as_program(ExportedPart(model, spec, "critic", OfPairs()).eval())
    torch.nn.init.constant_(next(model.generator.parameters()), torch.nan)
    with pytest.raises(gv.ConfigurationError, match="gives NaN"):
        as_program(ExportedPart(model, spec, "generator").eval())


class LinearAndConvolution(gv.Generator):
    """A layer of each kind that is quantised."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 64 * 16)
        self.convolution = torch.nn.ConvTranspose2d(64, 1, 4, 2, 1)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.convolution(self.linear(z).relu().unflatten(1, (64, 4, 4)))


@needs_onnx
def test_quantised_graphs_are_smaller_and_nearly_give_what_torch_gives() -> None:
    from ganvae_core.latent.export import as_onnx, run_onnx
    from ganvae_core.latent.quantisation import described, quantised

    torch.manual_seed(0)
    spec = gv.DataSpec((1, 8, 8))
    model = gv.Model(LinearAndConvolution(), gv.StandardNormal([64]), gv.Bernoulli(spec)).eval()
    module = ExportedPart(model, spec, "generator").eval()
    graph, z = as_onnx(module).model_proto, torch.randn(50, 64)
    exact, size = module(z).detach(), len(graph.SerializeToString())
    for how, ratio, most, words in (
        ("fp16", 0.6, 1e-3, "networks compute in 16 bits"),
        (
            "int8",
            0.4,
            1e-2,
            "linear layers that compute in 8 bits: 1, convolutions in float32 with weights of 8 bits: 1",
        ),
    ):
        small = quantised(graph, how)
        packed = small.SerializeToString()
        assert len(packed) < ratio * size
        apart = (run_onnx(packed, (z,)) - exact).abs().max().item()
        assert 0 < apart < most
        assert words in described(small, how)
    assert len(graph.SerializeToString()) == size  # the graph that was given is left as it was


@needs_onnx
def test_the_error_of_a_quantised_file_is_measured(runs: Path, tmp_path: Path, say: Say) -> None:
    outcome = say(
        "export", runs / "vae", "--part", "encoder", "--quantise", "int8", "-o", tmp_path / "part.onnx"
    )
    assert outcome.code == 0, outcome.err
    found = re.search(r"off from torch by (\S+) .*largest (\S+?)\)", outcome.err)
    assert found is not None
    assert 0 < float(found[1]) <= float(found[2]) < 0.2
    refused = say("export", runs / "vae", "--quantise", "int8", "-o", tmp_path / "part.pt2")
    assert (refused.code, (tmp_path / "part.pt2").exists()) == (2, False)


def test_weights_are_written_with_what_they_are(runs: Path, tmp_path: Path, say: Say) -> None:
    from safetensors import safe_open

    file = tmp_path / "weights.safetensors"
    assert say("export", runs / "vae", "-o", file).code == 0
    with safe_open(str(file), framework="pt") as opened:
        assert opened.metadata()["part"] == "generator"
        assert "decode.generator.head.weight" in set(opened.keys())


def test_a_wrong_number_is_noticed_and_a_rounded_one_is_not() -> None:
    units = gv.Units((0.0,), (255.0,), "uint8")
    exact = torch.tensor([[1.49, 254.7, 300.0]], dtype=torch.float64)
    assert difference(torch.tensor([[1, 255, 255]], dtype=torch.uint8), exact, units) == 0
    assert difference(torch.tensor([[2, 255, 255]], dtype=torch.uint8), exact, units) > 1e-5
    assert difference(torch.tensor([[1.49, 254.7, 300.1]]), exact, units) == pytest.approx(
        0.1 / 255, rel=1e-3
    )


def test_channels_of_images_have_their_own_units() -> None:
    units = gv.Units((1.0, 2.0, 3.0), (10.0, 20.0, 40.0), axis=-3)
    x = torch.ones(2, 3, 3, 4)
    rows = FromModel(units)(x)
    assert rows[0, :, 0, 0].tolist() == [11, 22, 43]
    assert torch.equal(ToModel(units)(rows), x)
    assert difference(rows + torch.tensor([0.0, 0.0, 4.0]).reshape(3, 1, 1), rows, units) == pytest.approx(
        0.1
    )


class DependsOnValues(gv.Generator):
    """Python's control flow on values, which no graph has."""

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return z if float(z.sum()) > 0 else -z


def test_a_component_that_does_not_export_is_named(runs: Path, tmp_path: Path, say: Say) -> None:
    spec = gv.DataSpec((2,), None)
    model = gv.Model(DependsOnValues(), gv.StandardNormal([2]), gv.Point(spec)).eval()
    with pytest.raises(gv.ConfigurationError, match="DependsOnValues"):
        as_program(ExportedPart(model, spec, "generator"))
    mixture = gv.Model(DependsOnValues(), gv.Mixture([2]), gv.Point(spec)).eval()
    with pytest.raises(gv.ConfigurationError, match="Mixture is not a function of normal noise"):
        ExportedPart(mixture, spec, "sample")
    file = tmp_path / "x.onnx"
    for words, message in (
        ((runs / "cgan", "--part", "encoder"), "no encoder"),
        ((runs / "vae", "--part", "critic"), "no critic"),
    ):
        outcome = say("export", *words, "-o", file)
        assert (outcome.code, file.exists()) == (2, False)
        assert message in outcome.err
    assert "not written to '.bin'" in say("export", runs / "vae", "-o", tmp_path / "x.bin").err


def test_draws_made_of_noise_have_the_distribution_of_the_prior() -> None:
    torch.manual_seed(0)
    parts = gv.Composite([5], parts=[gv.Uniform([2]), gv.Categorical([3])])
    for prior in (gv.StandardNormal([5]), gv.Hypersphere([5]), gv.TruncatedNormal([5], bound=1.0), parts):
        made = prior.from_noise(torch.randn(20_000, 5))
        assert prior.log_prob(made[:100]).isfinite().all()
        torch.testing.assert_close(made.mean(0), prior.sample(20_000).mean(0), atol=0.03, rtol=0)
        torch.testing.assert_close(made.std(0), prior.sample(20_000).std(0), atol=0.03, rtol=0)


def test_a_flow_takes_noise_there_and_back() -> None:
    pytest.importorskip("zuko")
    torch.manual_seed(0)
    flow = gv.Flow([2], hidden=(8,), transforms=2)
    flow.standardise(torch.tensor([1.0, -1.0]), torch.tensor([3.0, 5.0]))
    noise = torch.randn(6, 2)
    with torch.no_grad():
        torch.testing.assert_close(flow.to_noise(flow.from_noise(noise)), noise, atol=1e-4, rtol=1e-4)


def test_flow_matching_takes_noise_there_and_back() -> None:
    torch.manual_seed(0)
    prior = gv.LatentFlow([2], width=8, layers=1, steps=25)
    noise = torch.randn(6, 2)
    with torch.no_grad():
        torch.manual_seed(3)
        drawn = prior.sample(6)
        torch.manual_seed(3)
        assert torch.equal(prior.from_noise(torch.randn(6, 2)), drawn)
        torch.testing.assert_close(prior.to_noise(prior.from_noise(noise)), noise, atol=1e-3, rtol=1e-3)
