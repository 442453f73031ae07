"""ganvae's own plugins keep the promises that it asks of others, and compute what their papers say."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch
from ganvae_kit import PluginSuite
from torch import Tensor, nn

import ganvae_core as gv
from ganvae_core.plugins import installed_plugins

Case = Callable[..., Any]
OWN_FILES = Path(__file__).parents[1] / "docs" / "own_files.py"


def test_every_plugin_of_ganvae_is_held_to_the_kit() -> None:
    own = {plugin.name for plugin in installed_plugins().plugins if plugin.distribution == "ganvae"}
    assert {suite.plugin for suite in PluginSuite.__subclasses__() if suite.__module__ == __name__} == own


def zeroed(*modules: nn.Module | None) -> None:
    for module in modules:
        for parameter in () if module is None else module.parameters():
            nn.init.zeros_(parameter)


def blind_critic(**expected: float) -> Case:
    """A critic whose logits are all zero."""

    def case(objective: Any, batch: gv.Batch) -> Mapping[str, float]:
        zeroed(objective.critic)
        return {key.replace("__", "/"): value for key, value in expected.items()}

    case.__name__ = f"blind_critic({expected})"
    return case


def knows_nothing(objective: Any, batch: gv.Batch) -> Mapping[str, float]:
    """With all weights zero the posterior is N(0, I), and each of the 64 pixels is on with probability one half."""
    zeroed(objective.model)
    return {"elbo/kl": 0.0, "elbo/reconstruction": 64 * math.log(2), "elbo/loss": 64 * math.log(2)}


def always_half(objective: Any, batch: gv.Batch) -> Mapping[str, float]:
    """With all weights zero each pixel is the middle of its range."""
    zeroed(objective.model)
    error = (batch.x - 0.5).square().flatten(1).sum(1).mean()
    return {"autoencoder/reconstruction": float(error), "autoencoder/loss": float(error)}


def log_prob_at_zero(expected: Callable[[int], float]) -> Case:
    def case(prior: Any) -> tuple[Tensor, float]:
        z = torch.zeros(3, *prior.latent_shape)
        return prior.log_prob(z), expected(math.prod(prior.latent_shape))

    return case


def first_class(prior: Any) -> tuple[Tensor, float]:
    classes = prior.latent_shape[0]
    return prior.log_prob(torch.eye(classes)), -math.log(classes)


def on_the_circle(prior: Any) -> tuple[Tensor, float]:
    return prior.log_prob(torch.tensor([[0.6, 0.8], [-1.0, 0.0]])), -math.log(2 * math.pi)


def even_coins(observation: Any) -> tuple[Tensor, float]:
    return observation(torch.zeros(2, 1, 8, 8)).log_prob(torch.zeros(2, 1, 8, 8)), -64 * math.log(2)


class TestBuiltin(PluginSuite):
    plugin = "builtin"
    settings: ClassVar = {
        "generator/mlp": [{}, {"generator.batch_norm": True, "generator.activation": "maxout"}],
        "encoder/mlp": [{}, {"encoder.posterior": "dirac", "encoder.batch_norm": True}],
        "generator/resnet": [{"generator.filters": 4}, {"generator.filters": 4, "latent.shape": [2, 3, 2]}],
        "encoder/resnet": [
            {"encoder.filters": 4},
            {"encoder.filters": 4, "encoder.posterior": "dirac", "latent.shape": [2, 3, 2]},
        ],
        "critic/resnet": [{"critic.filters": 4}, {"critic.filters": 4, "critic.conditioning": "projection"}],
        "generator/auto": [{"generator.hidden": [8]}, {"generator.filters": 4, "generator.blocks": 1}],
        "encoder/auto": [{"encoder.hidden": [8]}, {"encoder.filters": 4, "encoder.posterior": "dirac"}],
        "critic/auto": [{"critic.hidden": [8]}, {"critic.filters": 4}],
        "encoder/quantised": [
            {"encoder.codes": 5, "encoder.network": {"name": "mlp", "hidden": [8], "posterior": "dirac"}},
            {
                "encoder.quantiser": "scalar",
                "encoder.levels": [64, 63],
                "latent.shape": [2, 3],
                "encoder.network": {"name": "mlp", "hidden": [8], "posterior": "dirac"},
            },
        ],
        "critic/mlp": [
            {},
            {"critic.dropout": 0.3},
            {"critic.conditioning": "projection", "critic.activation": "maxout"},
        ],
        "prior/truncated-normal": [{}, {"prior.bound": 0.5}],
        "prior/hypersphere": [{}, {"prior.radius": 2.5, "latent.shape": [3]}],
        "prior/categorical": [{}, {"latent.shape": [7]}],
        "prior/mixture": [{}, {"prior.components": 3, "prior.spread": 2.0}],
        "prior/gaussian-mixture": [
            {"prior.components": 3},
            {"prior.components": 2, "prior.covariance": "diagonal"},
        ],
        "prior/flow": [
            {"prior.transforms": 1, "prior.hidden": [8]},
            {"prior.transform": "affine", "prior.coupling": False, "latent.shape": [2], "prior.hidden": [8]},
        ],
        "prior/latent-flow": [{"prior.width": 4, "prior.layers": 1, "prior.steps": 4}],
        "prior/vamp": [{"prior.components": 3}],
        "prior/composite": [
            {
                "latent.shape": [3],
                "prior.parts": [
                    {"name": "truncated-normal", "latent_shape": [1], "bound": 1.0},
                    {"name": "categorical", "latent_shape": [2]},
                ],
            },
            {
                "latent.shape": [2],
                "prior.parts": [
                    {"name": "normal", "latent_shape": [1]},
                    {"name": "mixture", "latent_shape": [1], "components": 2},
                ],
            },
        ],
        "observation/pixelcnn": [{"observation.levels": 16, "observation.width": 4, "observation.layers": 1}],
        "observation/gaussian": [{}, {"observation.learn_scale": True, "observation.scale": 0.3}],
        "schedule/warm-up": [{"schedule.samples": 100}],
        "schedule/step": [{"schedule.samples": 100, "schedule.factor": 0.5}],
        "source/array": [{"data.path": "x.npy"}, {"data.path": "x.npz"}],
        "source/idx": [{"data.path": "train-images-idx3-ubyte.gz"}],
        "source/folder": [{"data.path": "photos", "data.resize": 12}],
        "source/table": [{"data.path": "wine.csv"}],
    }
    closed_forms: ClassVar = {
        "prior/normal": [log_prob_at_zero(lambda size: -0.5 * size * math.log(2 * math.pi))],
        "prior/uniform": [log_prob_at_zero(lambda size: -size * math.log(2))],
        "prior/categorical": [first_class],
        "prior/hypersphere": [on_the_circle],
        "observation/bernoulli": [even_coins],
    }

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """The files that sources read."""
        folder = tmp_path_factory.mktemp("files")
        runpy.run_path(str(OWN_FILES))["make_own_files"](folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv(
                "GANVAE_CACHE_DIR", str(folder / "cache")
            )  # nothing is there, and nothing is downloaded
            yield


class TestVAE(PluginSuite):
    plugin = "vae"
    settings: ClassVar = {
        "objective/elbo": [
            {},
            {"objective.free_bits": 0.2},
            {
                "objective.capacity": {"name": "linear", "from": 0.0, "to": 5.0, "samples": 100},
                "objective.beta": 9.0,
            },
        ],
        "objective/iwae": [{}, {"objective.doubly_reparameterised": True}],
        "objective/tc": [{}, {"objective.sampling": "stratified"}],
        "objective/dip": [{"objective.kind": "one"}, {"objective.kind": "two"}],
        "objective/mmd": [{}, {"objective.kl_weight": 0.5, "objective.reconstruction": "likelihood"}],
    }
    closed_forms: ClassVar = {"objective/elbo": [knows_nothing]}


class TestAE(PluginSuite):
    plugin = "ae"
    settings: ClassVar = {
        "objective/autoencoder": [
            {},
            {"objective.code_weight": 0.1},
            {"objective.reconstruction": "likelihood"},
            {"objective.noise": 0.1, "objective.masking": 0.2},
            {"objective.contraction": 0.1, "objective.generator_gradient": 0.1},
            {"objective.generator_decay": 1e-3, "objective.spectral_norm": True},
        ],
        "objective/adversarial-autoencoder": [{}, {"objective.kl_weight": 0.1}],
    }
    closed_forms: ClassVar = {"objective/autoencoder": [always_half]}


class TestDCGAN(PluginSuite):
    plugin = "dcgan"
    settings: ClassVar = {
        "generator/dcgan": [{"generator.filters": 4}],
        "encoder/dcgan": [{"encoder.filters": 4}, {"encoder.filters": 4, "encoder.posterior": "dirac"}],
        "critic/dcgan": [
            {"critic.filters": 4},
            {"critic.filters": 4, "critic.batch_norm": False, "critic.conditioning": "projection"},
        ],
    }


NONSATURATING = blind_critic(critic__loss=2 * math.log(2), generator__loss=math.log(2))


class TestGAN(PluginSuite):
    plugin = "gan"
    settings: ClassVar = {
        "objective/non-saturating": [
            {},
            {"objective.r1_weight": 2.0, "objective.r2_weight": 0.5, "objective.spectral_norm": True},
            {"objective.augmentation_target": 0.6},
            {"objective.rotation_weight": 1.0},
        ],
        "objective/hinge": [{}, {"objective.packing": 2}, {"objective.dragan_weight": 10.0}],
        "objective/relativistic": [
            {},
            {"objective.r1_weight": {"name": "linear", "from": 1.0, "to": 0.1, "samples": 500}},
        ],
        "objective/wasserstein": [{}, {"objective.critic_steps": 2}],
    }
    closed_forms: ClassVar = {
        "objective/non-saturating": [NONSATURATING],
        "objective/minimax": [blind_critic(critic__loss=2 * math.log(2), generator__loss=-math.log(2))],
        "objective/least-squares": [blind_critic(critic__loss=0.5, generator__loss=0.5)],
        "objective/hinge": [blind_critic(critic__loss=2.0, generator__loss=0.0)],
        "objective/wasserstein": [blind_critic(critic__loss=0.0, generator__loss=0.0)],
        "objective/wgan-gp": [blind_critic(critic__loss=10.0, critic__lipschitz=10.0, generator__loss=0.0)],
        "objective/relativistic": [
            blind_critic(
                critic__loss=math.log(2), critic__r1=0.0, critic__r2=0.0, generator__loss=math.log(2)
            )
        ],
    }


class TestBiGAN(PluginSuite):
    plugin = "bigan"
    closed_forms: ClassVar = {
        "objective/bigan": [blind_critic(critic__loss=2 * math.log(2), generator__loss=2 * math.log(2))]
    }


class TestCGAN(PluginSuite):
    plugin = "cgan"


class TestInfoGAN(PluginSuite):
    plugin = "infogan"


class TestSSGAN(PluginSuite):
    plugin = "ssgan"


class TestKit(PluginSuite):
    plugin = "kit"


def even_tokens(observation: Any) -> tuple[Tensor, float]:
    """With all weights zero every token is as probable as any other, up to the end of the text."""
    zeroed(observation)
    text = torch.zeros(2, observation.length)
    text[:, :3] = 5.0
    return observation(torch.zeros(2, observation.width)).log_prob(text), -4 * math.log(observation.size)


class TestTextVAE(PluginSuite):
    plugin = "text-vae"
    settings: ClassVar = {
        "source/text": [
            {"data.path": "lines.txt"},
            {"data.path": "lines.txt", "data.window": 8, "data.unit": "bytes"},
            {"data.path": "cells.csv", "data.column": "said", "data.label": "by"},
        ],
        "source/python-help": [{"data.length": 24}],
        "encoder/text": [{"encoder.filters": 4}],
        "observation/tokens": [{"observation.width": 8}, {"observation.autoregressive": False}],
    }
    closed_forms: ClassVar = {"observation/tokens": [even_tokens]}

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("texts")
        (folder / "lines.txt").write_text("a first line\n\nand löng one\nend\n" * 8, "utf-8")
        (folder / "cells.csv").write_text('by,said\nme,"yes, so"\nyou,no\n' * 8, "utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            yield


class TestSeriesVAE(PluginSuite):
    plugin = "series-vae"
    settings: ClassVar = {
        "source/series": [
            {"data.path": "hours.csv", "data.window": 6},
            {"data.path": "windows.npy"},
        ],
        "source/tides": [{"data.window": 8, "data.stride": 100}],
        **{
            f"{kind}/series": [{f"{kind}.filters": 4}, {f"{kind}.filters": 4, f"{kind}.network": "recurrent"}]
            for kind in ("generator", "encoder", "critic")
        },
    }

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("series")
        lines = [
            f"2024-01-{1 + at // 24:02} {at % 24:02}:00:00,{at % 7}.5,{at}" for at in range(96) if at != 40
        ]
        (folder / "hours.csv").write_text("\n".join(["when,level,count", *lines]), "utf-8")
        np.save(folder / "windows.npy", np.random.default_rng(0).normal(size=(20, 12, 2)))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            yield


class TestSeriesGAN(PluginSuite):
    plugin = "series-gan"


class TestMetrics(PluginSuite):
    plugin = "metrics"


class TestCompare(PluginSuite):
    plugin = "compare"


class TestLatent(PluginSuite):
    plugin = "latent"


class TestExplore(PluginSuite):
    plugin = "explore"


class TestTableVAE(PluginSuite):
    plugin = "table-vae"


class TestTableGAN(PluginSuite):
    plugin = "table-gan"
    settings: ClassVar = {"objective/ctgan": [{"objective.packing": 1}, {"objective.packing": 2}]}


class TestAudioVAE(PluginSuite):
    plugin = "audio-vae"
    settings: ClassVar = {
        "source/audio": [
            {},
            {"data.path": "sounds", "data.label_pattern": "*_{label}", "data.padding": "missing"},
            {"data.representation": "mel", "data.mels": 20},
        ],
        "generator/conv1d": [
            {"generator.filters": 2},
            {
                "generator.filters": 2,
                "generator.kernel": 5,
                "generator.stride": 2,
                "generator.batch_norm": True,
            },
        ],
        "encoder/conv1d": [
            {"encoder.filters": 2},
            {"encoder.filters": 2, "encoder.batch_norm": True, "encoder.posterior": "dirac"},
        ],
    }
    data: ClassVar = [gv.DataSpec((3, 40), (-1.0, 1.0)), gv.DataSpec((1, 96), (-1.0, 1.0), condition=(3,))]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """A folder of sounds."""
        folder = tmp_path_factory.mktemp("audio")
        (folder / "sounds").mkdir()
        for number in range(12):
            tone = 0.5 * np.sin(np.arange(300 + 10 * number) * (0.1 + 0.02 * number))
            soundfile.write(folder / "sounds" / f"{number}_{'ab'[number % 2]}.wav", tone, 8000)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            yield


class TestAudioGAN(PluginSuite):
    plugin = "audio-gan"
    settings: ClassVar = {
        "critic/conv1d": [
            {"critic.filters": 2},
            {
                "critic.filters": 2,
                "critic.conditioning": "concatenation",
                "critic.kernel": 5,
                "critic.stride": 2,
            },
        ],
    }
    data: ClassVar = TestAudioVAE.data
