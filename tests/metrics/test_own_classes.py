"""The classes that a mixture as the prior finds, on codes that are the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ganvae_metrics.representations import OwnClasses
from torch import Tensor

import ganvae_core as gv

CENTRES = torch.tensor([[-5.0, 0.0], [5.0, 0.0], [0.0, 5.0]])


class Itself(gv.Encoder):
    def forward(self, x: Tensor, condition: Tensor | None = None) -> gv.Posterior:
        return gv.Dirac(x)


def subject(prior: gv.LatentPrior) -> gv.ModelSubject:
    labels = np.arange(60) % 3
    rows = CENTRES.numpy()[labels] + np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32) / 10
    data = gv.split(gv.as_source(rows, labels), held_out=0.5)
    generator = gv.MLPGenerator([2], data.spec.shape, hidden=(2,))
    return gv.ModelSubject(gv.Model(generator, prior, gv.Point(data.spec), Itself()), data)


def mixture(centres: Tensor) -> gv.Mixture:
    prior = gv.Mixture([2], components=3)
    prior.means.data.copy_(centres)
    return prior


def test_components_at_the_classes_are_the_classes_however_they_are_numbered() -> None:
    scale = subject(mixture(CENTRES)).source_spec.units  # codes are in the model's range
    inside = (CENTRES - torch.as_tensor(scale.offset)) / torch.as_tensor(scale.scale)
    prior = mixture(inside.flip(0).float())
    prior.log_scales.data.fill_(-2.0)
    assert OwnClasses().measure(subject(prior)) == {"own_nmi": pytest.approx(1), "own_ari": pytest.approx(1)}


def test_one_component_for_all_says_nothing_of_the_classes() -> None:
    far = torch.tensor([[0.0, 0.0], [1e3, 0.0], [0.0, 1e3]])
    assert OwnClasses().measure(subject(mixture(far))) == {"own_nmi": 0, "own_ari": 0}


def test_a_prior_without_components_has_no_classes() -> None:
    with pytest.raises(gv.NotApplicable, match="not a mixture"):
        OwnClasses().measure(subject(gv.StandardNormal([2])))
