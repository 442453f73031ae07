"""What is known of one plugin after looking for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ganvae_core.plugins.specs import CommandSpec, ComponentSpec, RecipeSpec

State = Literal["ready", "disabled", "denied", "incompatible", "broken", "conflict"]
"""``disabled`` is what the user left out, ``denied`` what a registry's policy refuses; neither is imported."""


@dataclass(frozen=True)
class Plugin:
    """One plugin that is installed, whether it can be used or not.

    Args:
        name: of its entry point; the first half of its components' ids.
        state: whether it can be used; only a ``ready`` plugin has components, recipes and commands.
        reason: one line that says why it is not ready; empty when it is.
        distribution: name of the distribution that it came with.
        version: of that distribution.
        entry_point: the module that describes it, as a dotted name.
        components: what it offers.
        recipes: the complete configurations that it ships.
        commands: the verbs that it adds to the command line.
        traceback: of the exception that broke it, or empty.
        api: the core API that it was written for, or None where that was not found out.
        package: where its recipes lie, as a dotted name; empty where nothing was imported.
        remark: one line about what is not wrong and should be mended, or empty.
    """

    name: str
    state: State
    reason: str
    distribution: str
    version: str
    entry_point: str
    components: tuple[ComponentSpec, ...] = ()
    recipes: tuple[RecipeSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    traceback: str = ""
    api: int | None = None
    package: str = ""
    remark: str = ""

    @property
    def ready(self) -> bool:
        """Whether its components can be used."""
        return self.state == "ready"

    @property
    def origin(self) -> str:
        """Distribution and version, for people."""
        return f"{self.distribution} {self.version}"
