"""Unusual plugins that keep every promise: the kit finds nothing, and leaves out only what it says."""

from __future__ import annotations

from pathlib import Path

from ganvae_kit import PluginSuite


class TestGallery(PluginSuite):
    """Priors of every support, custom posteriors, discretised likelihoods, objectives with targets and lazy phases."""

    plugin = Path(__file__).with_name("gallery")
    settings = {"source/tones": [{"data.length": 32}]}  # noqa: RUF012
