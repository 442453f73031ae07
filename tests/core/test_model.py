"""The model's methods, and a VAE's loss held against one that is written by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from ganvae_vae.objective import ELBO
from torch import Tensor, nn
from toys import model, optimizer_settings, settings, state

import ganvae_core as gv
from ganvae_core.data.randomness import mixed_seed
from ganvae_core.engine.updates import STEP

PIXELS, CODE, HIDDEN = 20, 3, 5
SPEC = gv.DataSpec((PIXELS,), (0.0, 1.0), "array")


def vae(observation: gv.Observation, seed: int = 0) -> gv.Model:
    torch.manual_seed(seed)
    return gv.Model(
        gv.MLPGenerator([CODE], [PIXELS], hidden=(HIDDEN,)),
        gv.StandardNormal([CODE]),
        observation,
        gv.MLPEncoder(SPEC, [CODE], hidden=(HIDDEN,)),
    )


def by_hand(
    weights: dict[str, Tensor], x: Tensor, noise: Tensor, beta: float, scale: Tensor | None
) -> Tensor:
    """Kingma and Welling 2013, with tensors alone: Bernoulli where there is no scale, else a Gaussian."""
    hidden = (x * 2 - 1) @ weights["encoder.layers.0.weight"].T + weights["encoder.layers.0.bias"]
    both = hidden.clamp(min=0) @ weights["encoder.head.weight"].T + weights["encoder.head.bias"]
    mean, log_variance = both[:, :CODE], both[:, CODE:]
    z = mean + log_variance.exp().sqrt() * noise
    hidden = (z @ weights["generator.layers.0.weight"].T + weights["generator.layers.0.bias"]).clamp(min=0)
    raw = hidden @ weights["generator.head.weight"].T + weights["generator.head.bias"]
    p = 1 / (1 + (-raw).exp())
    if scale is None:
        log_likelihood = (x * p.log() + (1 - x) * (1 - p).log()).sum(1)
    else:
        log_likelihood = -(0.5 * ((x - p) / scale) ** 2 + scale.log() + 0.5 * math.log(2 * math.pi)).sum(1)
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
    return (-log_likelihood + beta * kl).mean()


def scale_of(observation: gv.Observation) -> Tensor | None:
    return (
        observation(torch.zeros(1, PIXELS)).log_scale.exp() if isinstance(observation, gv.Gaussian) else None
    )


def observations() -> list[gv.Observation]:
    return [gv.Bernoulli(), gv.Gaussian(SPEC, scale=0.3), gv.Gaussian(SPEC, scale=0.5, learn_scale=True)]


@pytest.mark.parametrize("beta", [1.0, 4.0, 0.0])
@pytest.mark.parametrize("position", range(3), ids=["bernoulli", "gaussian", "learned scale"])
def test_a_vaes_loss_and_gradients_are_those_of_one_written_by_hand(beta: float, position: int) -> None:
    observation = observations()[position]
    own = vae(observation)
    objective = ELBO(own, beta=beta)
    x = torch.rand(7, PIXELS, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    loss = objective.loss(gv.Batch(x, None, None, torch.arange(7), 0))
    loss.value.backward()
    torch.manual_seed(5)
    noise = torch.randn(7, CODE)

    weights = {name: value.requires_grad_() for name, value in state(own).items()}
    expected = by_hand(weights, x, noise, beta, scale_of(observation))
    torch.testing.assert_close(loss.value, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        loss.terms["reconstruction"] + beta * loss.terms["kl"], expected, rtol=1e-5, atol=1e-5
    )
    networks = [name for name, _ in own.named_parameters() if not name.startswith("observation")]
    gradients = torch.autograd.grad(expected, [weights[name] for name in networks])
    for name, gradient in zip(networks, gradients, strict=True):
        torch.testing.assert_close(own.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_the_weight_of_the_divergence_follows_its_schedule() -> None:
    objective = ELBO(vae(gv.Bernoulli()), beta=gv.schedule.Linear(from_=0.0, to=4.0, samples=100))
    for seen, beta in ((0, 0.0), (25, 1.0), (500, 4.0)):
        loss = objective.loss(gv.Batch(torch.rand(7, PIXELS), None, None, torch.arange(7), seen))
        torch.testing.assert_close(loss.value, loss.terms["reconstruction"] + beta * loss.terms["kl"])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_the_engine_trains_a_vae_as_a_bare_loop_does(name: str) -> None:
    x = torch.rand(20, PIXELS, generator=torch.Generator().manual_seed(1))
    own = vae(gv.Bernoulli())
    weights = {key: value.requires_grad_() for key, value in state(own).items() if "placement" not in key}
    optimizers: dict[str, Any] = {
        "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop
    }  # fmt: skip
    bare = optimizers[name](weights.values(), lr=0.01, weight_decay=0.1)
    chosen = optimizer_settings(name, 0.01, weight_decay=0.1)
    data = gv.split(gv.as_source(x), held_out=0.0)
    engine = gv.Engine(ELBO(own), data, settings(steps=5, seed=2), optimizers={"default": chosen})
    for step in range(5):
        batch = engine._stream.batch_at(8 * step)  # pyright: ignore[reportPrivateUsage]
        torch.manual_seed(mixed_seed(2, STEP, step, 0, 0))
        loss = by_hand(weights, batch.x, torch.randn(8, CODE), 1.0, None)
        bare.zero_grad()
        loss.backward()
        bare.step()
    engine.fit()
    for key, value in weights.items():
        torch.testing.assert_close(own.get_parameter(key).detach(), value.detach(), rtol=1e-9, atol=1e-12)


def test_sample_gives_means_in_the_datas_range() -> None:
    own = vae(gv.Bernoulli())
    made = own.sample(9)
    assert made.shape == (9, PIXELS)
    assert ((made > 0) & (made < 1)).all()


def test_reconstruct_is_the_mean_at_the_mean() -> None:
    own, x = vae(gv.Bernoulli()), torch.rand(4, PIXELS)
    expected = own.observation(own.generator(own.encode(x).mean)).mean
    assert torch.equal(own.reconstruct(x), expected)
    assert torch.equal(own.reconstruct(x), own.reconstruct(x)), "a reconstruction draws nothing"


def test_all_methods_keep_the_graph() -> None:
    own = vae(gv.Bernoulli())
    x = torch.rand(4, PIXELS, requires_grad=True)
    for made in (own.sample(2), own.decode(torch.zeros(2, CODE)).mean, own.log_likelihood_bound(x)):
        assert made.requires_grad
    own.reconstruct(x).sum().backward()
    assert x.grad is not None


def test_without_an_encoder_encoding_is_an_error_that_says_what_to_do() -> None:
    own = model(encoder=False)
    for method in (own.encode, own.reconstruct, own.log_likelihood_bound):
        with pytest.raises(gv.ConfigurationError, match="has no encoder") as raised:
            method(torch.zeros(2, 3))
        assert "--plugin vae" in str(raised.value)


def test_conditions_are_drawn_as_often_as_they_were_seen() -> None:
    """False alarm about once in 10^6 runs of another seed: five standard deviations of a binomial."""
    own = gv.Model(
        gv.MLPGenerator([2], [3], [4]), gv.StandardNormal([2]), gv.Point(),
        conditions=torch.eye(4), condition_weights=torch.tensor([0.0, 1.0, 2.0, 5.0]),
    )  # fmt: skip
    torch.manual_seed(0)
    drawn = own.draw_conditions(8000)
    assert drawn is not None
    expected = torch.tensor([0.0, 1 / 8, 2 / 8, 5 / 8])
    deviation = (expected * (1 - expected) / 8000).sqrt()
    assert ((drawn.mean(0) - expected).abs() <= 5 * deviation).all()
    assert own.sample(5).shape == (5, 3)


def test_conditions_without_weights_are_drawn_equally_and_none_are_drawn_where_there_are_none() -> None:
    own = gv.Model(
        gv.MLPGenerator([2], [3], [4]), gv.StandardNormal([2]), gv.Point(), conditions=torch.eye(4)
    )
    assert own.condition_weights is not None
    assert own.condition_weights.tolist() == [1.0] * 4
    assert model().draw_conditions(3) is None


class Exact(gv.Encoder):
    """The true posterior of x ~ N(z, 1), z ~ N(0, 1): N(x / 2, 1 / 2)."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> gv.DiagonalNormal:
        return gv.DiagonalNormal(x / 2, torch.full_like(x, math.log(0.5)))


class Same(gv.Generator):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return z


def test_with_the_true_posterior_the_weighted_bound_is_the_log_likelihood_whatever_is_drawn() -> None:
    own = gv.Model(Same(), gv.StandardNormal([1]), gv.Gaussian(), Exact())
    x = torch.linspace(-3, 3, 7)[:, None]
    exact = -0.25 * x.square().squeeze(1) - 0.5 * math.log(2 * math.pi * 2)  # x ~ N(0, 2)
    for samples in (2, 5, 50):
        torch.testing.assert_close(own.log_likelihood_bound(x, samples=samples), exact, rtol=1e-5, atol=1e-5)


def test_more_samples_give_a_tighter_bound_on_average() -> None:
    """The differences are over 50 standard errors: a false alarm is out of reach for any seed."""
    own = vae(gv.Bernoulli())
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.mul_(3)
        x = torch.rand(1, PIXELS).expand(4000, PIXELS)
        torch.manual_seed(0)
        bounds = [own.log_likelihood_bound(x, samples=samples).mean() for samples in (1, 5, 50)]
    assert bounds[0] < bounds[1] < bounds[2]


class LinearGenerator(gv.Generator):
    """W z + offset, and the condition added where there is one."""

    def __init__(self, weight: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.weight, self.offset = nn.Parameter(weight), nn.Parameter(offset)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        made = z @ self.weight.T + self.offset
        return made if condition is None else made + condition


class WideEncoder(gv.Encoder):
    """The posterior of probabilistic PCA whose W has orthogonal columns, and its deviations times ``width``."""

    def __init__(self, generator: LinearGenerator, scale: float, width: float) -> None:
        super().__init__()
        self._generator, self.scale, self.width = (generator,), scale, width

    def forward(self, x: Tensor, condition: Tensor | None = None) -> gv.DiagonalNormal:
        (generator,) = self._generator
        precision = generator.weight.square().sum(0) / self.scale**2 + 1
        centred = x - generator.offset - (0.0 if condition is None else condition)
        location = centred @ generator.weight / self.scale**2 / precision
        return gv.DiagonalNormal(location, (self.width**2 / precision).log().expand_as(location))


def probabilistic_pca(width: float) -> tuple[gv.Model, torch.distributions.MultivariateNormal]:
    """A VAE of which log p(x) is known: x ~ N(offset, W Wᵀ + scale² I) (Tipping and Bishop 1999)."""
    torch.manual_seed(3)
    scale, values, size = 0.7, 6, 2
    directions = torch.linalg.qr(torch.randn(values, size, dtype=torch.float64)).Q
    generator = LinearGenerator(directions * torch.tensor([2.0, 0.5]), torch.randn(values)).double()
    made = gv.Model(
        generator, gv.StandardNormal([size]), gv.Gaussian(scale=scale), WideEncoder(generator, scale, width)
    ).double()
    covariance = generator.weight @ generator.weight.T + scale**2 * torch.eye(values)
    return made, torch.distributions.MultivariateNormal(generator.offset, covariance)


def test_the_bound_is_the_likelihood_of_probabilistic_pca_where_the_posterior_is_exact() -> None:
    made, exact = probabilistic_pca(width=1.0)
    x = exact.sample((9,))
    for samples in (2, 7):
        torch.testing.assert_close(made.log_likelihood_bound(x, samples=samples), exact.log_prob(x))


@pytest.mark.parametrize("masked", [False, True])
def test_the_weighted_bound_estimates_the_likelihood_of_probabilistic_pca(masked: bool) -> None:
    """exp(bound) is an unbiased estimate of p(x), or of its marginal where entries are hidden.

    Its average over 2,000 rows lies within five standard errors: one false alarm in 1.7 million runs of other seeds.
    """
    made, exact = probabilistic_pca(width=3.0)
    torch.manual_seed(0)
    x = exact.sample((1,)).expand(2_000, 6)
    mask, known = None, torch.arange(6)
    if masked:
        mask = torch.tensor([True, False, True, True, False, True]).expand(2_000, 6)
        known = mask[0].nonzero().squeeze(1)
        x = x.where(mask, 0.0)
    marginal = torch.distributions.MultivariateNormal(
        exact.loc[known], exact.covariance_matrix[known][:, known]
    )
    bounds = made.log_likelihood_bound(x, samples=64, mask=mask)
    ratios = (bounds - marginal.log_prob(x[0, known])).exp().detach()
    assert abs(ratios.mean().item() - 1) < 5 * ratios.std().item() / 2_000**0.5
    assert ratios.std() < 0.5, "the estimate is sharp enough to tell"


@pytest.mark.parametrize("rows_at_once", [1, 7, 15, 1000])
def test_the_rows_at_once_do_not_change_the_bound(rows_at_once: int) -> None:
    made, exact = probabilistic_pca(width=2.0)
    x, condition = exact.sample((5,)), torch.randn(5, 6, dtype=torch.float64)
    seen: list[int] = []
    made.generator.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    torch.manual_seed(1)
    whole = made.log_likelihood_bound(x, condition, samples=6)
    assert seen == [30], "one forward"
    seen.clear()
    torch.manual_seed(1)
    parts = made.log_likelihood_bound(x, condition, samples=6, rows_at_once=rows_at_once)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    assert max(seen) <= max(rows_at_once, 5)
    assert sum(seen) == 30


def test_several_draws_a_row_are_decoded_as_one_by_one() -> None:
    made, _ = probabilistic_pca(width=1.0)
    torch.manual_seed(0)
    z, condition = torch.randn(4, 3, 5, 2, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    x, mask = torch.randn(5, 6, dtype=torch.float64), torch.rand(5, 6) < 0.5
    together = made.decode(z, condition)
    each = [[made.decode(codes, condition) for codes in draws] for draws in z]
    assert together.mean.shape == together.sample().shape == (4, 3, 5, 6)
    for first in range(4):
        for second in range(3):
            one = each[first][second]
            torch.testing.assert_close(together.mean[first, second], one.mean)
            torch.testing.assert_close(together.log_prob(x)[first, second], one.log_prob(x))
            torch.testing.assert_close(together.log_prob(x, mask)[first, second], one.log_prob(x, mask))
    torch.testing.assert_close(made(z, condition), together.mean)


def test_the_priors_density_of_several_draws_a_row_depends_on_each_rows_condition() -> None:
    class Around(gv.LatentPrior):
        """N(condition, 1)."""

        support = "real"
        latent_shape = (2,)

        def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
            raise NotImplementedError

        def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
            assert condition is not None
            return torch.distributions.Normal(condition, 1.0).log_prob(z).sum(1)

    made = gv.Model(Same(), Around(), gv.Gaussian())
    z, condition = torch.randn(4, 3, 5, 2), torch.randn(5, 2)
    expected = torch.distributions.Normal(condition, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(made.log_prior(z, condition), expected)


def test_the_vaes_loss_leaves_hidden_entries_out() -> None:
    made, x, mask = vae(gv.Bernoulli()), torch.rand(7, PIXELS), torch.rand(7, PIXELS) < 0.5
    hidden = torch.where(mask, x, 0.0)
    torch.manual_seed(0)
    loss = ELBO(made).loss(gv.Batch(hidden, None, mask, torch.arange(7), 0))
    torch.manual_seed(0)
    z = made.encode(hidden).rsample()
    p = made.decode(z).mean
    log_likelihood = (hidden * p.log() + (1 - hidden) * (1 - p).log())[mask].sum() / 7
    torch.testing.assert_close(loss.terms["reconstruction"], -log_likelihood)


@pytest.mark.parametrize("conditional", [False, True])
def test_decoder_and_encoder_are_exported_for_any_number_of_rows(conditional: bool) -> None:
    torch.manual_seed(0)
    shape = [3] if conditional else None
    made = gv.Model(
        gv.MLPGenerator([CODE], [PIXELS], shape, hidden=(HIDDEN,)),
        gv.StandardNormal([CODE]),
        gv.Bernoulli(),
        gv.MLPEncoder(SPEC, [CODE], shape, hidden=(HIDDEN,)),
    ).eval()
    z, x, condition = torch.randn(4, CODE), torch.rand(4, PIXELS), torch.eye(4, 3) if conditional else None
    for module, given, expected in (
        (gv.DecodeModule(made), z, made.decode(z, condition).mean),
        (gv.EncodeModule(made), x, made.encode(x, condition).mean),
    ):
        inputs = (given,) if condition is None else (given, condition)
        rows = torch.export.Dim("rows")
        exported = torch.export.export(module, inputs, dynamic_shapes=tuple({0: rows} for _ in inputs))
        torch.testing.assert_close(exported.module()(*inputs), expected)
        doubled = [torch.cat([each, each]) for each in inputs]
        torch.testing.assert_close(exported.module()(*doubled), torch.cat([expected, expected]))
    assert {name for name, _ in gv.DecodeModule(made).named_children()} == {"generator", "observation"}


def test_a_model_without_an_encoder_exports_none() -> None:
    with pytest.raises(gv.ConfigurationError, match="has no encoder"):
        gv.EncodeModule(model(encoder=False))
