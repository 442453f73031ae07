"""The evidence lower bound, and the importance-weighted one."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal, final

from torch import Tensor

from ganvae_core import (
    Batch,
    ConfigurationError,
    DiagonalNormal,
    Loss,
    Model,
    Objective,
    Phase,
    Posterior,
    Schedule,
    StandardNormal,
    as_schedule,
    in_range,
)
from ganvae_vae.terms import bound_terms


@final
class ELBO(Objective):
    """The evidence lower bound, with a weight on its KL term.

    Minimises, in nats a row,

        -E_q(z|x)[log p(x|z)] + beta KL(q(z|x) || p(z))

    with one reparameterised draw of z. Kingma and Welling, Auto-Encoding Variational Bayes, 2013; beta from Higgins et
    al., beta-VAE, 2017. With ``capacity`` C the second term is beta |KL - C|, which holds the information in the
    codes at C (Burgess et al., Understanding Disentangling in beta-VAE, 2018).

    Args:
        beta: weight of the KL term, or a schedule of it; 1 is the bound itself, more gives up detail for a tidier
            latent space.
        free_bits: nats of each coordinate, averaged over the batch, that cost nothing: max(KL_d, free_bits) (Kingma et
            al., Improved Variational Inference with Inverse Autoregressive Flow, 2016). For a normal posterior and
            prior.
        capacity: C in nats, or a schedule of it; null leaves it out.
        reference: what the KL term compares posteriors with: the prior, or a standard normal distribution, for a prior
            that is fitted or trained on the codes afterwards (two stages: Dai and Wipf, Diagnosing and Enhancing VAE
            Models, 2019).

    Raises:
        ConfigurationError: an option is negative, free_bits and capacity are both given, or free_bits has no closed
            form for this model.
    """

    accepts: ClassVar = frozenset({"real"})
    needs: ClassVar = frozenset({"prior", "posterior", "likelihood"})

    def __init__(
        self,
        model: Model,
        *,
        beta: Schedule | float = 1.0,
        free_bits: float = 0.0,
        capacity: Schedule | float | None = None,
        reference: Literal["prior", "normal"] = "prior",
    ) -> None:
        super().__init__()
        in_range("objective.", beta=beta, free_bits=free_bits, capacity=capacity)
        if free_bits and capacity is not None:
            raise ConfigurationError(
                "objective: free_bits and capacity both say how much the codes hold.", "give one of them"
            )
        self.reference = None
        if reference == "normal":
            self.reference = StandardNormal(model.prior.latent_shape)
            self.needs = frozenset({"posterior", "likelihood"})  # pyright: ignore[reportAttributeAccessIssue]
        if free_bits and not isinstance(self.reference or model.prior, StandardNormal):
            raise ConfigurationError(
                "objective.free_bits counts the nats of each coordinate, which only the normal prior has.",
                "take it:  prior=normal      or hold the whole KL at a capacity:  objective.capacity=20",
            )
        self.model, self.free_bits = model, free_bits
        self.beta = as_schedule(beta)
        self.capacity = None if capacity is None else as_schedule(capacity)

    def phases(self) -> list[Phase]:
        """One phase that trains the whole model; the batch's average of free bits ties its rows together."""
        couples_rows = self.free_bits > 0 or self.capacity is not None
        return [Phase("elbo", self.loss, trains=[self.model], couples_rows=couples_rows)]

    def loss(self, batch: Batch) -> Loss:
        """Negative bound () in nats, with its two terms."""
        found = bound_terms(self.model, batch, self.reference)
        cost = found.divergence
        if self.free_bits:
            cost = _of_each_coordinate(found.posterior).mean(0).clamp(min=self.free_bits).sum()
        if self.capacity is not None:
            cost = (found.divergence - self.capacity(batch.samples_seen)).abs()
        value = found.reconstruction + self.beta(batch.samples_seen) * cost
        return found.loss(value)


@final
class ImportanceWeighted(Objective):
    """The importance-weighted bound of several draws, which is tighter than the evidence lower bound.

    Minimises, in nats a row,

        -E log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x)      with z_1 … z_K drawn from q(z|x)

    Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2015. With more draws the plain gradient of
    the encoder drowns in noise (Rainforth et al. 2018); the doubly reparameterised one does not (Tucker et al., Doubly
    Reparameterized Gradient Estimators, 2019), and is that of the same bound.

    Args:
        draws: K.
        doubly_reparameterised: take that gradient for the encoder.

    Raises:
        ConfigurationError: there is no draw, or the posterior is no dataclass of tensors.
    """

    accepts: ClassVar = frozenset({"real"})
    needs: ClassVar = frozenset({"prior", "posterior", "likelihood"})

    def __init__(self, model: Model, *, draws: int = 5, doubly_reparameterised: bool = False) -> None:
        super().__init__()
        in_range("objective.", least=1, hint="take  objective.draws=5", draws=draws)
        self.model, self.draws, self.doubly = model, draws, doubly_reparameterised

    def phases(self) -> list[Phase]:
        """One phase that trains the whole model."""
        return [Phase("iwae", self.loss, trains=[self.model])]

    def loss(self, batch: Batch) -> Loss:
        """Negative bound () in nats; ``effective_draws`` is (Σ w)² / Σ w² of the weights w, ``kl`` an estimate."""
        posterior = self.model.encode(batch.x, batch.condition)
        z = posterior.rsample((self.draws,))  # (K, B, *Z)
        density = _without_gradient(posterior) if self.doubly else posterior
        log_ratio = density.log_prob(z) - self.model.log_prior(z, batch.condition)  # (K, B)
        log_weights = self.model.decode(z, batch.condition).log_prob(batch.x, batch.mask) - log_ratio
        bound = (log_weights.logsumexp(0) - math.log(self.draws)).mean()
        weights = log_weights.detach().softmax(0)
        terms = {
            "effective_draws": (1 / weights.square().sum(0)).mean(),
            "bound": bound.detach(),
            "kl": log_ratio.detach().mean(),
        }
        if self.doubly and z.requires_grad:
            # What reaches the encoder through z is weighted once more; the generator's gradient is that of the bound.
            z.register_hook(lambda gradient: gradient * weights.reshape(*weights.shape, *[1] * (z.dim() - 2)))
        return Loss(-bound, terms)


def _of_each_coordinate(posterior: Posterior) -> Tensor:
    """(B, D) nats: KL of each coordinate from N(0, 1)."""
    if not isinstance(posterior, DiagonalNormal):
        raise ConfigurationError(
            "objective.free_bits needs a normal posterior.", "set:  encoder.posterior=normal"
        )
    location, log_variance = posterior.location.flatten(1), posterior.log_variance.flatten(1)
    return 0.5 * (location.square() + log_variance.exp() - log_variance - 1)


def _without_gradient(posterior: Posterior) -> Posterior:
    """The posterior with its parameters detached."""
    given: Any = posterior  # a dataclass, as the interface says
    values = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    if not all(isinstance(value, Tensor) for value in values.values()):
        raise ConfigurationError(
            "objective.doubly_reparameterised needs a posterior that is a dataclass of tensors.",
            "set:  objective.doubly_reparameterised=false",
        )
    return dataclasses.replace(given, **{name: value.detach() for name, value in values.items()})
