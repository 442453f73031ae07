"""The conformance kit, and the values that its formula gives."""

import math

import pytest
import torch
from ganvae_kit import PluginSuite
from ganvae_swae.parts import Annulus, sliced_distance


class TestSWAE(PluginSuite):
    plugin = "swae"


def test_the_distance_between_shifted_points_is_the_shift_seen_from_all_sides() -> None:
    torch.manual_seed(0)
    a = torch.randn(500, 2, dtype=torch.float64)
    # The mean over directions of (3 cos angle)². Its standard error over 20,000 lines is 0.02: four of them.
    found = sliced_distance(a, a + torch.tensor([3.0, 0.0]), 20_000)
    assert found.item() == pytest.approx(4.5, abs=0.09)


def test_the_area_of_the_ring_is_what_its_density_says() -> None:
    prior = Annulus([2], inner=0.5, outer=1.0)
    assert prior.log_prob(torch.tensor([[0.75, 0.0]])).item() == pytest.approx(-math.log(math.pi * 0.75))
    assert prior.log_prob(torch.zeros(1, 2)).item() == -math.inf
