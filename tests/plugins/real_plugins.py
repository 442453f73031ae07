"""Wheels of plugins, good ones and broken ones, as pip installs them."""

from __future__ import annotations

from pathlib import Path

from real_environment import wheel

HEAD = "from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl\nganvae_api = 1\n"
GOOD = (
    HEAD
    + """
@hookimpl
def ganvae_components():
    return [ComponentSpec("prior", "wide", "x_{name}.parts:Wide", "a wide normal prior")]
"""
)
PARTS = """
import torch
import ganvae_core as gv

class Wide(gv.LatentPrior):
    support = "real"

    def __init__(self, latent_shape, *, scale: float = 2.0):
        super().__init__()
        self.latent_shape, self.scale = tuple(latent_shape), scale

    def sample(self, count, condition=None):
        return self.scale * torch.randn(count, *self.latent_shape)

    def log_prob(self, z, condition=None):
        return torch.distributions.Normal(0.0, self.scale).log_prob(z).flatten(1).sum(1)
"""


def plugin_wheel(folder: Path, name: str, module: str, *, claims: str = "", version: str = "1.0") -> Path:
    package = f"x_{name.replace('-', '_')}"
    files = {f"{package}/__init__.py": "", f"{package}/parts.py": PARTS}
    files[f"{package}/plugin.py"] = module.replace("x_{name}", package)
    points = f"[ganvae]\n{claims or name} = {package}.plugin\n"
    return wheel(folder, f"x-{name}", points, files, version)
