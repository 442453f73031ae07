"""Checks of views."""

from __future__ import annotations

from ganvae_core.types import View
from ganvae_kit.checks import CheckFailure, check
from ganvae_kit.places import place_of
from ganvae_kit.subjects import Component


@check("view", needs=["makes"])
def endings(component: Component) -> None:
    """It implements what its endings ask for: ``draw`` for .png, ``write`` for others, each as .ending or empty."""
    made: type[View] = component.target
    for ending in made.endings:
        if ending and (not ending.startswith(".") or ending != ending.lower()):
            raise CheckFailure(
                f"{component.label}: the ending {ending!r} matches no file",
                place_of(made),
                "write it as '.wav'",
            )
        method = "draw" if ending == ".png" else "write"
        if getattr(made, method) is getattr(View, method):
            raise CheckFailure(
                f"{component.label}: its endings have {ending!r}, and it does not implement {method}",
                place_of(made),
            )
