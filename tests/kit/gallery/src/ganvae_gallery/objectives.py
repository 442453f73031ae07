"""Objectives with several draws a row, targets that move, penalties and phases that are lazy."""

import copy
import math

import torch
from torch import nn
from torch.distributions import Normal

from ganvae_core import Loss, Objective, Phase


class Importance(Objective):
    """The importance-weighted bound (Burda et al. 2015), with draws that lie in one long axis.

    Args:
        draws: of the posterior for each row.
    """

    accepts = frozenset({"real"})
    needs = frozenset({"prior", "posterior", "likelihood"})

    def __init__(self, model, *, draws: int = 3):
        super().__init__()
        self.model, self.draws = model, draws

    def phases(self):
        return [Phase("bound", self.loss, trains=[self.model])]

    def loss(self, batch):
        rows, count = len(batch.x), self.draws
        posterior = self.model.encode(batch.x, batch.condition)
        condition = None if batch.condition is None else batch.condition.repeat(count, 1)
        z = posterior.rsample((count,))
        # A sample of the prior for each draw and row, so that one draw has rows · count values on an axis.
        noise = self.model.prior.sample(count * rows, condition).reshape(z.shape)
        z = z + 1e-3 * noise
        decoded = self.model.decode(z.flatten(0, 1), condition)
        log_joint = decoded.log_prob(batch.x.repeat(count, *[1] * (batch.x.dim() - 1)))
        log_joint = log_joint + self.model.prior.log_prob(z.flatten(0, 1), condition)
        weights = log_joint.reshape(count, rows) - posterior.log_prob(z)
        bound = (weights.logsumexp(0) - math.log(count)).mean()
        return Loss(-bound, {"bound": bound})


class Sliced(Objective):
    """The sliced-Wasserstein autoencoder (Kolouri et al. 2018): sorting ties rows together, and it says so.

    Args:
        slices: random directions.
        weight: of the distance between codes and prior.
    """

    needs = frozenset({"prior", "encoder"})

    def __init__(self, model, *, slices: int = 20, weight: float = 1.0):
        super().__init__()
        self.model, self.slices, self.weight = model, slices, weight

    def phases(self):
        return [Phase("sliced", self.loss, trains=[self.model], couples_rows=True)]

    def loss(self, batch):
        z = self.model.encode(batch.x, batch.condition).mean.flatten(1)
        made = self.model.decode(z.reshape(self._shape(z)), batch.condition).mean
        error = (made - batch.x).square().flatten(1).sum(1).mean()
        directions = torch.randn(z.shape[1], self.slices, device=z.device)
        directions = directions / directions.norm(dim=0)
        drawn = self.model.prior.sample(len(z), batch.condition).flatten(1)
        apart = ((z @ directions).sort(0).values - (drawn @ directions).sort(0).values).square().mean()
        return Loss(error + self.weight * apart, {"error": error, "distance": apart})

    def _shape(self, z):
        return z.shape


class Teacher(Objective):
    """An autoencoder whose codes follow those of an average of itself, with a lazy penalty and dropout.

    Args:
        decay: of the average.
    """

    needs = frozenset({"encoder"})

    def __init__(self, model, latent_shape, *, decay: float = 0.9):
        super().__init__()
        self.model, self.decay = model, decay
        size = math.prod(latent_shape)
        self.teacher = copy.deepcopy(model.encoder).requires_grad_(False)
        self.predictor = nn.Sequential(nn.Linear(size, 8), nn.Dropout(0.3), nn.GELU(), nn.Linear(8, size))
        self.register_buffer("scale", torch.ones(()))

    def phases(self):
        modules = [self.model, self.predictor]
        return [
            Phase("follow", self.follow, trains=modules, after=self.after, optimizer="all"),
            Phase(
                "smooth",
                self.smooth,
                trains=[self.model.generator],
                every=3,
                second_order=True,
                optimizer="all",
            ),
        ]

    def follow(self, batch):
        z = self.model.encode(batch.x, batch.condition).mean
        with torch.no_grad():
            target = self.teacher(batch.x, batch.condition).mean
        predicted = self.predictor(z.flatten(1)).reshape(target.shape)
        error = (self.model.decode(z, batch.condition).mean - batch.x).square().flatten(1).sum(1).mean()
        apart = (predicted - target).square().flatten(1).sum(1).mean() / self.scale
        return Loss(error + apart, {"error": error}, {"length": z.square().mean()})

    def smooth(self, batch):
        z = self.model.encode(batch.x, batch.condition).mean.detach().requires_grad_()
        made = self.model.decode(z, batch.condition).mean
        (slope,) = torch.autograd.grad(made.square().sum(), z, create_graph=True)
        return Loss(3 * 0.1 * slope.square().flatten(1).sum(1).mean())

    def after(self, averages):
        for own, followed in zip(self.teacher.parameters(), self.model.encoder.parameters(), strict=True):
            own.lerp_(followed, 1 - self.decay)
        self.scale.lerp_(averages["length"] + 1, 0.1)


class OwnCritic(Objective):
    """A GAN with a critic of its own, spectral norm, a mixture of schedules, and torch's distributions."""

    def __init__(self, model, data):
        super().__init__()
        self.model = model
        size = math.prod(data.shape) + (0 if data.condition is None else math.prod(data.condition))
        norm = nn.utils.parametrizations.spectral_norm
        self.judge = nn.Sequential(norm(nn.Linear(size, 8)), nn.LeakyReLU(0.2), norm(nn.Linear(8, 1)))

    def phases(self):
        return [
            Phase("judge", self.judging, trains=[self.judge]),
            Phase("generator", self.generating, trains=[self.model.generator], every=2),
        ]

    def _logits(self, x, batch):
        seen = x.flatten(1) if batch.condition is None else torch.cat([x.flatten(1), batch.condition], 1)
        return self.judge(seen).squeeze(1)

    def judging(self, batch):
        fake = self.model.sample(len(batch.x), batch.condition).detach()
        share = torch.rand(len(batch.x), *[1] * (batch.x.dim() - 1), device=batch.x.device)
        between = share * batch.x + (1 - share) * fake
        width = 0.5 ** (batch.samples_seen / 1000)
        blurred = Normal(between, 0.1 * width).rsample()
        terms = {"real": self._logits(batch.x, batch).mean(), "fake": self._logits(fake, batch).mean()}
        value = terms["fake"] - terms["real"] + 0.1 * self._logits(blurred, batch).square().mean()
        return Loss(value, terms)

    def generating(self, batch):
        return Loss(-self._logits(self.model.sample(len(batch.x), batch.condition), batch).mean())
