"""Arrays of any shape, which have no pictures and no files but ``.npz`` and ``.npy``."""

from __future__ import annotations

from typing import final

from ganvae_core.types import View


@final
class ArrayView(View):
    """Rows of numbers that are nothing more particular."""
