"""``PluginSuite`` under pytest, in a process of its own: what passes, what fails and what is skipped, by name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ganvae_kit import CHECKS, CheckFailure, Given, held, open_plugins
from ganvae_kit.checks import Check
from ganvae_kit.subjects import PluginUnderTest
from mutants import write_project
from warm import warm

FILE = """
from pathlib import Path

from ganvae_core import DataSpec
from ganvae_kit import PluginSuite


class TestSpecimen(PluginSuite):
    plugin = Path(__file__).parent / "project"
    settings = {"generator/plain": [{}, {"generator.width": 3}]}


class TestNobody(PluginSuite):
    plugin = "nobody"


class TestMisspelt(PluginSuite):
    plugin = Path(__file__).parent / "project"
    settings = {"generator/plane": [{}]}


class Shared(PluginSuite):
    data = [DataSpec((1, 12), (-1.0, 1.0), "array")]
"""


def pytest_in(folder: Path, *arguments: str) -> dict[str, str]:
    """Outcomes by test, as ``pytest -rA`` tells them, and what it printed under ``output``."""
    done = warm("pytest", "-p", "no:cacheprovider", "-rA", "-q", folder, *arguments, folder=folder)
    told = re.findall(r"^(PASSED|FAILED|ERROR) \S+?::(.+?)(?: - .*)?$", done.out, re.MULTILINE)
    return {"output": done.out + done.err, **{name: outcome for outcome, name in told}}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("suite")
    write_project(folder)
    (folder / "test_them.py").write_text(FILE)
    wanted = "shapes or Nobody or Misspelt or descriptions or fit"
    return pytest_in(folder, "-k", wanted)


def test_each_check_is_a_test_with_a_case_for_each_component(told: dict[str, str]) -> None:
    assert told["TestSpecimen::test_descriptions[plugin]"] == "PASSED"
    for label in (
        "generator/plain",
        "encoder/plain",
        "critic/plain",
        "prior/logistic",
        "observation/laplace",
    ):
        assert told[f"TestSpecimen::test_shapes[{label}]"] == "PASSED"
    assert not [name for name in told if name.startswith("Shared")]


def test_what_does_not_apply_is_skipped_with_its_reason(told: dict[str, str]) -> None:
    assert re.search(r"SKIPPED .*it is not fitted after training", told["output"])


def test_a_plugin_that_is_not_there_is_a_failure_that_says_so(told: dict[str, str]) -> None:
    assert told["TestNobody::test_plugin_is_there"] == "FAILED"
    assert "there is no plugin 'nobody'" in told["output"]


def test_what_is_given_for_no_component_is_a_failure(told: dict[str, str]) -> None:
    assert told["TestMisspelt::test_plugin_is_there"] == "FAILED"
    assert "the plugin has no 'generator/plane' that something is given for" in told["output"]


@pytest.mark.usefixtures("projects_removed")
def test_settings_and_data_of_the_author_are_tried(tmp_path: Path) -> None:
    from ganvae_core import DataSpec

    signal = DataSpec((1, 12), (-1.0, 1.0), "array", (2,), 40)
    given = Given({"generator/plain": [{}, {"generator.width": 3, "latent.shape": [5]}]}, [signal])
    (plugin,) = open_plugins(write_project(tmp_path), given)
    generator = next(component for component in plugin.components if component.label == "generator/plain")
    found = [(at.name, at.shape, at.settings) for at in generator.situations]
    assert ("data 1 of yours", (5,), {"generator.width": 3, "latent.shape": [5]}) in found
    assert ("an image", (4,), {}) in found
    assert all(
        held(check, generator).state != "failed" for check in CHECKS.values() if "generator" in check.of
    )


@pytest.mark.usefixtures("projects_removed")
def test_a_name_that_the_registry_reserves_for_others_is_refused(tmp_path: Path) -> None:
    (plugin,) = open_plugins(write_project(tmp_path))
    known = plugin.catalogue.known()["vae"]
    catalogue = replace(plugin.catalogue, known=lambda: {"specimen": replace(known, distribution="other")})
    reserved = PluginUnderTest(plugin.plugin, catalogue, described=plugin.described)
    with pytest.raises(CheckFailure, match="is reserved for other") as failure:
        CHECKS["entry-point"].run(reserved)
    assert failure.value.place is not None
    assert Path(failure.value.place.file).name == "pyproject.toml"


def test_an_error_while_cases_are_made_is_a_failure_with_their_subject() -> None:
    def cases(subject: object) -> Iterator[object]:
        yield subject
        raise ValueError("no such size")

    subject = SimpleNamespace(
        of="source", label="source/tones", place=None, owns=lambda file: False, outcomes={}
    )
    outcome = held(Check("made", ("source",), "It is made.", lambda case: None, each=cases), subject)
    assert (outcome.state, outcome.message) == ("failed", "source/tones: ValueError: no such size")


def test_without_pytest_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvae_kit import PluginSuite

    from ganvae_core import ConfigurationError

    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(ConfigurationError, match="not installed") as failure:
        type("TestVae", (PluginSuite,), {"plugin": "vae"})
    assert "ganvae[testing]" in str(failure.value)


def test_every_check_says_what_it_proves_in_a_sentence_or_two() -> None:
    for check in CHECKS.values():
        assert check.proves[:1].isupper() or check.proves.startswith("`"), check.name
        assert check.proves.endswith("."), check.name
        assert len(check.proves) < 240, check.name
