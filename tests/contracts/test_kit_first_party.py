"""ganvae's own plugins keep the promises that it asks of others."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from ganvae_kit import PluginSuite

import ganvae_core as gv
from ganvae_core.plugins import installed_plugins

OWN_FILES = Path(__file__).parents[1] / "docs" / "own_files.py"


def test_every_plugin_of_ganvae_is_held_to_the_kit() -> None:
    own = {plugin.name for plugin in installed_plugins().plugins if plugin.distribution == "ganvae"}
    assert {suite.plugin for suite in PluginSuite.__subclasses__() if suite.__module__ == __name__} == own


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


class TestBiGAN(PluginSuite):
    plugin = "bigan"


class TestCGAN(PluginSuite):
    plugin = "cgan"


class TestInfoGAN(PluginSuite):
    plugin = "infogan"


class TestSSGAN(PluginSuite):
    plugin = "ssgan"


class TestKit(PluginSuite):
    plugin = "kit"


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

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("texts")
        (folder / "lines.txt").write_text("a first line\n\nand löng one\nend\n" * 8, "utf-8")
        (folder / "cells.csv").write_text("by,said\n" + 'me,"yes, so"\nyou,no\n' * 8, "utf-8")
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
