"""ganvae: train, compare and explore generative latent-variable models.

The public names are those that ``__init__.pyi`` imports. They are resolved when first used (PEP 562), so that importing
this package imports neither torch nor any plugin. ``latent`` has functions on latent spaces, ``losses`` adversarial
losses, ``penalties`` gradient penalties, ``divergences`` divergences from samples.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

__version__ = "0.2.0"

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
_HOMES = {
    name.name: node.module or ""
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom)
    for name in node.names
}
"""The public names with the modules that define them."""

__all__ = [*sorted(_HOMES.keys() - {"latent", "losses"}), "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganvae_core' has no attribute '{name}'")
    home = importlib.import_module(_HOMES[name])
    # A public name may be a module: ``ganvae_core.penalties`` is ``ganvae_core.builtin.penalties``.
    value = vars(home).get(name) or importlib.import_module(f"{_HOMES[name]}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
