"""The view of some data, found by its modality, without torch."""

from __future__ import annotations

from ganvae_core.errors import DataError
from ganvae_core.plugins import Catalogue
from ganvae_core.types import DataSpec, View


def view_of(spec: DataSpec, catalogue: Catalogue) -> View:
    """The view that shows such data: the component that its modality names.

    Raises:
        ConfigurationError: no plugin brings such a view, or several do.
        DataError: the view does not show rows of that shape.
    """
    _, component = catalogue.component("view", spec.modality)
    view: View = catalogue.load(component)()
    if not view.fits(spec):
        raise DataError(f"rows of shape {spec.shape} cannot be shown as modality '{spec.modality}'.")
    return view


def rows_in_words(spec: DataSpec, view: View) -> str:
    """``images of 8 × 8``."""
    event = view.describe(spec)
    return f"{view.noun} of {event}" if event else view.noun
