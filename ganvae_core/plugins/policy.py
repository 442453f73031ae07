"""Which plugins may be used on this machine: decided by name, version and files, before anything is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ganvae_core.plugins.installation import installation

Mode = Literal["installed", "allowlist"]
MODES: tuple[Mode, ...] = get_args(Mode)
OWN = "ganvae"
"""The distribution whose plugins an allowlist need not name."""


@dataclass(frozen=True)
class Pin:
    """What a plugin's distribution has to be.

    Args:
        version: ``==`` and a version; empty where any will do.
        sha256: of its files, as ``ganvae plugins info`` shows it; empty where they are not pinned.
    """

    version: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Policy:
    """What a registry file says about the use of plugins. Plugins are named as in ``--plugin``.

    Args:
        origin: the file that says so.
        mode: ``installed`` allows all that are installed, ``allowlist`` those in ``allow`` and ganvae's own.
        allow: names that an allowlist allows.
        deny: names that are refused, whatever else is said.
        pins: what the distributions of plugins have to be, by the plugin's name.
        prefer: the id to take for a short name that stands for several, by ``kind/name``.
    """

    origin: str = ""
    mode: Mode = "installed"
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    pins: Mapping[str, Pin] = field(default_factory=dict[str, Pin])
    prefer: Mapping[str, str] = field(default_factory=dict[str, str])

    def refusal(self, name: str, distribution: str, version: str) -> str | None:
        """Why a plugin of that name, from that distribution, may not be used; None where it may."""
        if name in self.deny:
            return f"by {self.origin} (deny)"
        if self.mode == "allowlist" and name not in self.allow and distribution != OWN:
            return f"{self.origin} does not allow it (allow)"
        pin = self.pins.get(name)
        return None if pin is None else self._unlike(pin, distribution, version)

    def _unlike(self, pin: Pin, distribution: str, version: str) -> str | None:
        """What differs from a pin."""
        if pin.version and not satisfies(version, pin.version):
            return f"{self.origin} pins {distribution}{pin.version}, and {version} is installed"
        if not pin.sha256:
            return None
        there = installation(distribution)
        if there.editable:
            return f"{self.origin} pins the files of {distribution}, and its install is editable"
        if there.sha256 != pin.sha256:
            found = f"are {there.sha256}" if there.sha256 else "are not recorded"
            return f"{self.origin} pins the files of {distribution} to {pin.sha256}; those installed {found}"
        return None


def satisfies(version: str, specifier: str) -> bool:
    """Whether a version is the one that ``==…`` names."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)
