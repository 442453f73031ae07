"""Unusual plugins that keep every promise: the kit finds nothing, and leaves out only what it says."""

from __future__ import annotations

from pathlib import Path

from ganvae_kit import CHECKS, PluginSuite, held, open_plugins


class TestGallery(PluginSuite):
    """Priors of every support, custom posteriors, discretised likelihoods, objectives with targets and lazy phases."""

    plugin = Path(__file__).with_name("gallery")
    settings = {"source/tones": [{"data.length": 32}]}  # noqa: RUF012


def test_components_that_need_one_another_are_made_within_the_plugins_recipe() -> None:
    (plugin,) = open_plugins(Path(__file__).with_name("gallery"))
    centred = next(part for part in plugin.components if part.label == "objective/centred")
    assert held(CHECKS["losses"], centred).state == "passed"
    assert [at.recipe for at in centred.situations] == ["gallery"]
    counts = next(part for part in plugin.components if part.label == "prior/counts")
    assert held(CHECKS["fit"], counts).state == "passed"
