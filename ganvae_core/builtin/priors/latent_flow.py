"""A prior that carries noise to codes along a learned velocity field: flow matching."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core.builtin.layers import check_condition
from ganvae_core.builtin.option_checks import in_range
from ganvae_core.builtin.priors.standardised import StandardisedPrior
from ganvae_core.distributions import LOG_2_PI
from ganvae_core.interfaces import MatchedPrior, Support

FREQUENCIES = 8
Field = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]
"""State (B, D), time (B, 1) and what is given, to the velocity (B, D) and a rate (B,)."""


@final
class LatentFlow(StandardisedPrior, MatchedPrior):
    """The flow of an ordinary differential equation dz/dt = v(z, t) from noise at t = 0 to codes at t = 1.

    ``matching`` is what trains v, without solving the equation: at points on straight lines between noise and codes it
    regresses on the lines' directions (Lipman et al., Flow Matching for Generative Modeling, 2023; Liu et al. 2023).
    The objective ``prior-likelihood`` does this on an autoencoder's codes, in a stage of its own. ``sample`` takes a
    fixed number of Heun's steps. With a condition, the field is trained with and without it, so that ``guidance`` can
    exaggerate what the condition changes (Ho and Salimans 2022).

    ``log_prob`` is that of the flow without guidance. It solves the equation backwards with the exact divergence of
    v, which takes as many gradients a step as a code has numbers.

    Args:
        latent_shape: *Z.
        condition_shape: *K, or None for an unconditional model.
        width: of the hidden layers.
        layers: residual layers.
        steps: of Heun's method; each evaluates v twice.
        guidance: 1 samples from the conditional flow; more exaggerates the condition.
        drop_condition: share of the rows that are trained without their condition.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    support: Support = "real"
    sampling_options = ("steps", "guidance")

    def __init__(
        self,
        latent_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        width: int = 512,
        layers: int = 4,
        steps: int = 25,
        guidance: float = 1.0,
        drop_condition: float = 0.1,
    ) -> None:
        super().__init__(latent_shape)
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        in_range(least=1, width=width, layers=layers, steps=steps)
        in_range(below=1, drop_condition=drop_condition)
        in_range(guidance=guidance)
        self.steps, self.guidance, self.drop_condition = steps, guidance, drop_condition
        size = math.prod(self.latent_shape)
        # A condition has a flag beside it, so that its absence is no value of it.
        given = 0 if self.condition_shape is None else math.prod(self.condition_shape) + 1
        self.enter = nn.Linear(size + 2 * FREQUENCIES + given, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(layers)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, size))

    def matching(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) codes -> (B,) squared errors of the velocity, for one random time and noise a row."""
        given = self._given(condition)
        if given is not None:
            kept = torch.rand(len(z), 1, dtype=z.dtype, device=z.device) >= self.drop_condition
            given = given * kept
        end = (z.flatten(1) - self.mean) / self.deviation()
        start = torch.randn_like(end)
        time = torch.rand(len(z), 1, dtype=z.dtype, device=z.device)
        velocity = self._velocity(torch.lerp(start, end, time), time, given)
        return (velocity - (end - start)).square().sum(1)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        noise = torch.randn(count, *self.latent_shape, dtype=self.mean.dtype, device=self.mean.device)
        return self.from_noise(noise, condition)

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) standard normal -> (B, *Z) draws: where the equation carries the noise."""
        state, given = noise.flatten(1), self._given(condition)
        for step in range(self.steps):
            state, _ = self._heun(state, step / self.steps, 1 / self.steps, given, self._guided)
        return (state * self.deviation() + self.mean).reshape(noise.shape)

    def to_noise(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) -> (B, *Z) the noise that is carried to these codes, but for the error of the steps."""
        state, given = (z.flatten(1) - self.mean) / self.deviation(), self._given(condition)
        for step in range(self.steps, 0, -1):
            state, _ = self._heun(state, step / self.steps, -1 / self.steps, given, self._guided)
        return state.reshape(z.shape)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        given, deviation = self._given(condition), self.deviation()
        state = (z.flatten(1) - self.mean) / deviation
        change = state.new_zeros(len(state))
        for step in range(self.steps, 0, -1):
            state, divergence = self._heun(state, step / self.steps, -1 / self.steps, given, self._divergent)
            change = change + divergence  # along the way back, so its sign is that of the way there, turned
        base = -0.5 * (state.square() + LOG_2_PI).sum(1)
        return base + change - deviation.log().sum()

    def _heun(
        self, state: Tensor, time: float, step: float, given: Tensor | None, field: Field
    ) -> tuple[Tensor, Tensor]:
        """The state after one step of Heun's method, and the integral (B,) of what the field gives besides."""
        rows = state.shape[0]  # len() would fix the number of rows of an exported graph
        first, rate = field(state, state.new_full((rows, 1), time), given)
        second, later = field(state + step * first, state.new_full((rows, 1), time + step), given)
        return state + step / 2 * (first + second), step / 2 * (rate + later)

    def _guided(self, state: Tensor, time: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        velocity = self._velocity(state, time, given)
        if given is not None and self.guidance != 1:
            velocity = torch.lerp(
                self._velocity(state, time, torch.zeros_like(given)), velocity, self.guidance
            )
        return velocity, state.new_zeros(state.shape[0])

    def _divergent(self, state: Tensor, time: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """The velocity, and its divergence (B,), which can be differentiated where gradients are on."""
        keeps = torch.is_grad_enabled()
        with torch.enable_grad():
            at = state if keeps and state.requires_grad else state.detach().requires_grad_()
            velocity = self._velocity(at, time, given)
            divergence = state.new_zeros(len(state))
            for coordinate in range(state.shape[1]):
                (gradient,) = torch.autograd.grad(
                    velocity[:, coordinate].sum(), at, create_graph=keeps, retain_graph=True
                )
                divergence = divergence + gradient[:, coordinate]
        return (velocity, divergence) if keeps else (velocity.detach(), divergence.detach())

    def _velocity(self, state: Tensor, time: Tensor, given: Tensor | None) -> Tensor:
        """(B, D), (B, 1), (B, K + 1)? -> (B, D)."""
        frequencies = torch.pi * 2 ** torch.arange(FREQUENCIES, dtype=state.dtype, device=state.device) / 2
        angles = time * frequencies
        inputs = [state, angles.sin(), angles.cos()]
        hidden = self.enter(torch.cat(inputs if given is None else [*inputs, given], 1))
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return self.leave(hidden)

    def _given(self, condition: Tensor | None) -> Tensor | None:
        """(B, *K)? -> (B, K + 1)?, the condition and a one."""
        check_condition(condition, self.condition_shape)
        if condition is None:
            return None
        flat = condition.flatten(1).to(self.mean.dtype)
        return torch.cat([flat, torch.ones_like(flat[:, :1])], 1)
