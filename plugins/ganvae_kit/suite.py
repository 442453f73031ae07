"""The kit as tests of pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_core.types import DataSpec
from ganvae_kit.checks import CHECKS, Check, Subject, held
from ganvae_kit.models import Settings
from ganvae_kit.subjects import Given, PluginUnderTest, open_plugins


class PluginSuite:
    """Holds a plugin to every check of the kit: a test for each check, with a case for each component or recipe.

    Subclass it in a file of tests, as ``class TestMine(PluginSuite)``. What does not apply is skipped with the reason.

    Args:
        plugin: the name of an installed plugin, or the path of a distribution's folder.
        settings: by ``kind/name``, settings to check a component with, by dotted key as ``gv.train(overrides=…)`` takes
            them: ``{"source/audio": [{"data.path": "tone.wav"}]}``. The list may hold several.
        data: what data the components are for, where the kit's images, points and tables do not suit them.
    """

    plugin: ClassVar[str | Path]
    settings: ClassVar[Mapping[str, Sequence[Settings]]] = {}
    data: ClassVar[Sequence[DataSpec]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "plugin"):
            return
        try:
            import pytest
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "PluginSuite is made of tests for pytest, which is not installed.",
                "pip install 'ganvae[testing]'",
            ) from error
        given = Given(cls.settings, cls.data)
        try:
            plugins = open_plugins(cls.plugin, given)
            _refuse_unknown(given, plugins)
        except GanvaeError as error:
            cls.test_plugin_is_there = _failing(error)  # pyright: ignore[reportAttributeAccessIssue]
            return
        for check in CHECKS.values():
            cases = {
                _case(plugin, subject, plugins): subject
                for plugin in plugins
                for subject in plugin.subjects
                if subject.of in check.of
            }
            if cases:
                marked = pytest.mark.parametrize("subject", list(cases.values()), ids=list(cases))
                setattr(cls, f"test_{check.name.replace('-', '_')}", marked(_test(check)))


def _test(check: Check) -> Callable[[Any, Subject], None]:
    def test(self: Any, subject: Subject) -> None:
        __tracebackhide__ = True
        import pytest

        outcome = held(check, subject)
        if outcome.state == "not checked":
            pytest.skip(outcome.message)
        if outcome.raised is not None:
            raise outcome.raised

    test.__doc__ = check.proves
    return test


def _failing(error: GanvaeError) -> Callable[[Any], None]:
    def test_plugin_is_there(self: Any) -> None:
        __tracebackhide__ = True
        raise error

    return test_plugin_is_there


def _case(plugin: PluginUnderTest, subject: Subject, plugins: Sequence[PluginUnderTest]) -> str:
    return subject.label if len(plugins) == 1 else f"{plugin.plugin.name}: {subject.label}"


def _refuse_unknown(given: Given, plugins: Sequence[PluginUnderTest]) -> None:
    """Refuse what is given for a component that the plugin does not have.

    Raises:
        ConfigurationError: something is.
    """
    labels = {subject.label for plugin in plugins for subject in plugin.subjects}
    ready = all(plugin.plugin.ready for plugin in plugins)
    for label in given.settings:
        if ready and label not in labels:
            raise ConfigurationError(
                f"the plugin has no '{label}' that something is given for.",
                f"it has: {', '.join(sorted(labels))}",
            )
