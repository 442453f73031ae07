"""Objectives of the VAE and autoencoder family against independent computations of their papers' formulas."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from ganvae_ae.adversarial import VAEGAN, AdversarialAutoencoder
from ganvae_ae.objective import Autoencoder
from ganvae_ae.vector_quantised import VectorQuantised
from ganvae_vae.disentangling import DIP, Factor, TotalCorrelation, permuted
from ganvae_vae.matching import MMD, Adversarial, Sliced
from ganvae_vae.objective import ELBO, ImportanceWeighted
from torch import Tensor, nn

import ganvae_core as gv
from ganvae_core import divergences, penalties
from ganvae_core.lower_precision import networks_in

SPEC = gv.DataSpec((3,), None, "table", count=40)
Z = (2,)


@pytest.fixture(autouse=True)
def float64() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def number(value: Tensor | float) -> float:
    return value.detach().item() if isinstance(value, Tensor) else float(value)


def batch(rows: int = 6, mask: Tensor | None = None) -> gv.Batch:
    x = torch.randn(rows, 3)
    return gv.Batch(x if mask is None else x * mask, None, mask, torch.arange(rows), 0)


def model(posterior: str = "normal", prior: gv.LatentPrior | None = None) -> gv.Model:
    encoder = gv.MLPEncoder(SPEC, Z, hidden=(5,), activation="tanh", posterior=posterior)  # pyright: ignore
    generator = gv.MLPGenerator(Z, [3], hidden=(5,), activation="tanh")
    return gv.Model(generator, prior or gv.StandardNormal(Z), gv.Gaussian(SPEC, scale=0.7), encoder)


def critic(spec: gv.DataSpec) -> gv.Critic:
    return gv.MLPCritic(spec, hidden=(6,))


class Affine(gv.Encoder):
    """q(z|x) = N(x W, diag(exp(log_variance)))."""

    def __init__(self, weight: Tensor, log_variance: Tensor) -> None:
        super().__init__()
        self.weight, self.log_variance = nn.Parameter(weight), nn.Parameter(log_variance)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> gv.DiagonalNormal:
        return gv.DiagonalNormal(x @ self.weight, self.log_variance.expand(len(x), -1))


def linear_gaussian(noise: float = 0.5) -> tuple[gv.Model, torch.distributions.MultivariateNormal]:
    """Probabilistic PCA (Tipping and Bishop 1999) with orthogonal loadings, its exact posterior, and its p(x)."""
    loadings = torch.linalg.qr(torch.randn(3, 2)).Q * torch.tensor([2.0, 1.0])
    generator = gv.MLPGenerator(Z, [3], hidden=())
    with torch.no_grad():
        generator.head.weight.copy_(loadings)
        generator.head.bias.zero_()
    precision = loadings.T @ loadings / noise**2 + torch.eye(2)
    encoder = Affine(loadings @ precision.inverse() / noise**2, -precision.diagonal().log())
    exact = torch.distributions.MultivariateNormal(
        torch.zeros(3), loadings @ loadings.T + noise**2 * torch.eye(3)
    )
    return gv.Model(generator, gv.StandardNormal(Z), gv.Gaussian(SPEC, scale=noise), encoder), exact


def test_the_importance_weighted_bound_meets_the_exact_likelihood_of_probabilistic_pca() -> None:
    made, exact = linear_gaussian()
    x = exact.sample((200,))
    with torch.no_grad():
        torch.testing.assert_close(made.log_likelihood_bound(x, samples=3), exact.log_prob(x))
        made.encoder.log_variance += 0.4  # pyright: ignore  # a posterior that is not exact
        bound = made.log_likelihood_bound(x, samples=400)
    assert abs(number((bound - exact.log_prob(x)).mean())) < 0.01


def test_one_draw_of_the_importance_weighted_bound_is_the_evidence_lower_bound() -> None:
    made, rows = model(), batch()
    torch.manual_seed(3)
    loss = ImportanceWeighted(made, draws=1).loss(rows).value
    torch.manual_seed(3)
    posterior = made.encode(rows.x)
    z = posterior.rsample((1,))[0]
    terms = made.decode(z).log_prob(rows.x) + made.prior.log_prob(z) - posterior.log_prob(z)
    torch.testing.assert_close(loss, -terms.mean())


def test_the_doubly_reparameterised_gradient_is_that_of_the_bound_and_vanishes_at_the_exact_posterior() -> (
    None
):
    made, exact = linear_gaussian()
    x = exact.sample((20_000,))
    rows = gv.Batch(x, None, None, torch.arange(len(x)), 0)
    assert made.encoder is not None

    def gradients(doubly: bool) -> list[Tensor]:
        torch.manual_seed(1)
        made.zero_grad()
        ImportanceWeighted(made, draws=3, doubly_reparameterised=doubly).loss(rows).value.backward()
        return [parameter.grad.clone() for parameter in made.parameters() if parameter.grad is not None]

    doubly = gradients(True)
    encoder = {id(parameter) for parameter in made.encoder.parameters()}
    for parameter, gradient in zip(made.parameters(), doubly, strict=True):
        if id(parameter) in encoder:
            torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-10, rtol=0)
    with torch.no_grad():
        made.encoder.log_variance += 0.5  # pyright: ignore
    for plain, other in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(plain, other, atol=0.06, rtol=0.02)


def test_free_bits_and_capacity_follow_their_formulas() -> None:
    made, rows = model(), batch()
    posterior = made.encode(rows.x)
    each = 0.5 * (posterior.location**2 + posterior.log_variance.exp() - posterior.log_variance - 1)  # pyright: ignore

    def cost(objective: ELBO) -> Tensor:
        torch.manual_seed(2)
        loss = objective.loss(rows)
        torch.testing.assert_close(loss.terms["kl"], each.sum(1).mean())
        return loss.value - loss.terms["reconstruction"]

    free = number(each.mean(0).mean())
    expected = sum(max(number(value), free) for value in each.mean(0))
    assert number(cost(ELBO(made, free_bits=free, beta=2.0))) == pytest.approx(2 * expected)
    assert number(cost(ELBO(made, capacity=9.0, beta=3.0))) == pytest.approx(
        3 * abs(number(each.sum(1).mean()) - 9)
    )
    later = gv.Model(made.generator, gv.GaussianMixture(Z), made.observation, made.encoder)
    objective = ELBO(later, reference="normal")
    assert "prior" not in objective.needs, "it is fitted afterwards"
    assert number(cost(objective)) == pytest.approx(number(each.sum(1).mean()))


@pytest.mark.parametrize("sampling", ["weighted", "stratified"])
def test_the_total_correlation_is_that_of_a_mixture_of_the_posteriors(sampling: Any) -> None:
    posterior = gv.DiagonalNormal(torch.randn(5, 2), 0.3 * torch.randn(5, 2))
    z, count = posterior.rsample(), 9
    total = 0.0
    for i in range(5):
        densities = [
            [
                math.exp(
                    -0.5
                    * number((z[i, d] - posterior.location[j, d]) ** 2 / posterior.log_variance[j, d].exp())
                    - 0.5 * number(posterior.log_variance[j, d])
                    - 0.5 * math.log(2 * math.pi)
                )
                for d in range(2)
            ]
            for j in range(5)
        ]
        weights = [1 / (count * 5)] * 5
        if sampling == "stratified":
            weights = [1 / count if j == i else (count - 1) / (count * 4) for j in range(5)]
            assert sum(weights) == pytest.approx(1)
        joint = sum(w * p[0] * p[1] for w, p in zip(weights, densities, strict=True))
        product = math.prod(sum(w * p[d] for w, p in zip(weights, densities, strict=True)) for d in range(2))
        total += math.log(joint / product) / 5
    found = divergences.total_correlation(posterior, z, count, sampling=sampling)
    assert number(found) == pytest.approx(total)


def test_the_weights_of_the_disentangling_objectives_are_those_of_their_formulas() -> None:
    made, rows = model(), batch()
    for objective, name, factor in (
        (TotalCorrelation(made, SPEC, beta=6.0), "total_correlation", 5.0),
        (TotalCorrelation(made, SPEC, beta=6.0, sampling="stratified"), "total_correlation", 5.0),
        (Factor(made, Z, critic, weight=3.0), "total_correlation", 3.0),
        (DIP(made), "covariance", 1.0),
    ):
        loss = objective.loss(rows)
        terms = loss.terms
        expected = terms["reconstruction"] + terms["kl"] + factor * terms[name]
        torch.testing.assert_close(loss.value, expected)


@pytest.mark.parametrize("kind", ["one", "two"])
def test_the_penalty_of_dip_is_on_the_covariance_of_means_or_of_codes(kind: Any) -> None:
    made, rows = model(), batch()
    posterior = made.encode(rows.x)
    means = posterior.mean
    expected = 0.0
    for d, e in itertools.product(range(2), repeat=2):
        c = number(((means[:, d] - means[:, d].mean()) * (means[:, e] - means[:, e].mean())).mean())
        if d != e:
            expected += 2.0 * c**2
        else:
            c += number(posterior.log_variance[:, d].exp().mean()) if kind == "two" else 0.0  # pyright: ignore
            expected += 5.0 * (c - 1) ** 2
    found = DIP(made, kind=kind, off_diagonal=2.0, diagonal=5.0).loss(rows).terms["covariance"]
    assert number(found) == pytest.approx(expected)


def test_permuted_codes_keep_each_coordinates_values_and_lose_what_ties_them() -> None:
    z = torch.arange(400.0).repeat(2, 1).T
    mixed = permuted(z)
    torch.testing.assert_close(mixed.sort(0).values, z)
    assert abs(number(torch.corrcoef(mixed.T)[0, 1])) < 0.2


def test_matched_codes_weigh_the_distances_of_their_papers() -> None:
    made, rows = model("dirac"), batch()

    def expected(z: Tensor, drawn: Tensor) -> float:
        def kernel(a: Tensor, b: Tensor) -> float:
            c = [2 * 2 * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
            return sum(one / (one + number(((a - b) ** 2).sum())) for one in c)

        n = len(z)
        pairs = [(i, j) for i in range(n) for j in range(n)]
        same = sum(kernel(z[i], z[j]) + kernel(drawn[i], drawn[j]) for i, j in pairs if i != j) / (
            n * (n - 1)
        )
        return same - 2 * sum(kernel(z[i], drawn[j]) for i, j in pairs) / n**2

    torch.manual_seed(5)
    loss = MMD(made, weight=7.0).loss(rows)
    torch.manual_seed(5)
    z, drawn = made.encode(rows.x).mean, made.prior.sample(len(rows.x))
    assert number(loss.terms["distance"]) == pytest.approx(expected(z, drawn))
    squares = (made.decode(z).mean - rows.x).square().sum(1).mean()
    torch.testing.assert_close(loss.value, squares + 7 * loss.terms["distance"])
    torch.manual_seed(5)
    sliced = Sliced(made, weight=3.0).loss(rows)
    torch.manual_seed(5)
    assert number(sliced.terms["distance"]) == pytest.approx(
        number(divergences.sliced_wasserstein(z, made.prior.sample(len(rows.x))))
    )
    torch.testing.assert_close(sliced.value, squares + 3 * sliced.terms["distance"])
    informed = MMD(model(), kl_weight=0.5, reconstruction="likelihood").loss(rows)
    torch.testing.assert_close(
        informed.value,
        informed.terms["reconstruction"] + 10 * informed.terms["distance"] + 0.5 * informed.terms["kl"],
    )


def test_a_blind_critic_of_codes_gives_log_two() -> None:
    adversarial = Adversarial(model("dirac"), Z, critic, weight=3.0)
    for parameter in adversarial.critic.parameters():
        nn.init.zeros_(parameter)
    assert number(adversarial.critic_loss(batch()).value) == pytest.approx(2 * math.log(2))
    loss = adversarial.loss(batch())
    assert number(loss.value - loss.terms["reconstruction"]) == pytest.approx(3 * math.log(2))


def test_a_random_projection_estimates_the_norm_of_the_jacobian() -> None:
    matrix = torch.randn(4, 3)
    x = torch.randn(40_000, 3, requires_grad=True)
    found = penalties.squared_jacobian_norm(x.tanh() @ matrix.T, x)
    exact = (matrix[None] * (1 - x.tanh() ** 2)[:, None]).square().sum((1, 2))
    assert number((found - exact).mean() / exact.mean()) == pytest.approx(0, abs=0.02)


def test_the_penalties_of_the_autoencoder_are_weighted_and_a_mask_is_kept() -> None:
    made = model("dirac")
    mask = torch.rand(6, 3) < 0.6
    rows = batch(mask=mask)
    loss = Autoencoder(
        made, code_weight=0.1, contraction=0.2, generator_decay=0.3, generator_gradient=0.4
    ).loss(rows)
    terms = loss.terms
    assert number(loss.value) == pytest.approx(
        number(
            terms["reconstruction"] + 0.1 * terms["code_length"] + 0.2 * terms["contraction"]
            + 0.3 * terms["generator_length"] + 0.4 * terms["generator_gradient"]
        )
    )  # fmt: skip
    squares = sum(number(weight.square().sum()) for weight in made.generator.parameters())
    assert number(terms["generator_length"]) == pytest.approx(squares)
    z = made.encode(rows.x).mean
    error = ((made.decode(z).mean - rows.x) ** 2 * mask).sum(1).mean()
    torch.testing.assert_close(terms["reconstruction"], error)


def test_a_denoising_autoencoder_reconstructs_the_clean_row_from_a_corrupted_one() -> None:
    made, rows = model("dirac"), batch(2000)
    seen: list[Tensor] = []
    assert made.encoder is not None
    made.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    Autoencoder(made, noise=0.5).loss(rows)
    Autoencoder(made, masking=0.3).loss(rows)
    assert number((seen[0] - rows.x).std()) == pytest.approx(0.5, rel=0.05)
    assert number((seen[1] == 0).double().mean()) == pytest.approx(0.3, abs=0.03)
    kept = seen[1] != 0
    torch.testing.assert_close(seen[1][kept], rows.x[kept])


def quantised(**options: Any) -> gv.QuantisedEncoder:
    network = gv.MLPEncoder(SPEC, (2, 3), hidden=(5,), posterior="dirac")
    return gv.QuantisedEncoder(SPEC, (2, 3), network=network, **options)


def discrete_model(encoder: gv.QuantisedEncoder) -> gv.Model:
    prior = gv.Autoregressive((2, 3), encoder, width=8, layers=1, heads=2)
    return gv.Model(gv.MLPGenerator((2, 3), [3], hidden=(5,)), prior, gv.Gaussian(SPEC), encoder)


def test_codes_are_the_nearest_entries_and_their_gradient_passes() -> None:
    encoder, x = quantised(codes=7), torch.randn(4, 3)
    posterior = encoder(x)
    for row, place in itertools.product(range(4), range(3)):
        distances = [
            number((posterior.encoded[row, place] - entry).square().sum()) for entry in encoder.codebook
        ]
        nearest = distances.index(min(distances))
        assert posterior.indices[row, place] == nearest
        torch.testing.assert_close(posterior.mean[row, :, place], encoder.codebook[nearest])
    assert torch.equal(encoder.indices(posterior.mean), posterior.indices)
    torch.testing.assert_close(encoder.codes(posterior.indices), posterior.mean)
    (through,) = torch.autograd.grad(posterior.mean.sum(), posterior.encoded)
    assert (through == 1).all()


def test_in_bf16_codes_are_still_the_nearest_entries() -> None:
    encoder = quantised(codes=50).float()
    with torch.no_grad():
        encoder.codebook.mul_(0.1).add_(3)  # |c|² and 2 v·c are far larger than the distance
    with networks_in("cpu", torch.bfloat16):
        posterior = encoder(torch.randn(40, 3, dtype=torch.float32))
        with torch.autocast("cpu", torch.bfloat16):
            again = encoder.indices(posterior.mean)
    encoded, codebook = posterior.encoded.double(), encoder.codebook.double()
    nearest = (encoded[:, :, None] - codebook).square().sum(-1).argmin(-1)
    assert torch.equal(posterior.indices, nearest)
    assert torch.equal(again, nearest)


def test_the_codebook_follows_moving_averages_and_dead_entries_are_moved() -> None:
    encoder = quantised(codes=3, decay=0.9)
    encoder.updates.fill_(100)
    encoder.shares.copy_(torch.tensor([0.5, 0.5 - 1e-4, 1e-4]))
    encoder.totals.copy_(encoder.codebook * encoder.shares[:, None])
    before = encoder.codebook.clone()
    statistics = {"shares": torch.tensor([0.25, 0.75, 0.0]), "totals": torch.randn(3, 2),
                  "mean": torch.zeros(2), "square": torch.full((2,), 0.01)}  # fmt: skip
    shares = 0.9 * encoder.shares + 0.1 * statistics["shares"]
    entries = (0.9 * encoder.totals + 0.1 * statistics["totals"]) / shares[:, None]
    encoder.learn(statistics)
    torch.testing.assert_close(encoder.codebook[:2], entries[:2])
    assert number((encoder.codebook[2] - entries[:2]).norm(dim=1).min()) < 0.1, "next to one that is used"
    assert not torch.equal(before[2], encoder.codebook[2])
    assert number(encoder.shares[2]) == pytest.approx(0.0999 / 3)


def test_entries_that_are_moved_are_in_use_only_once_data_comes_to_them() -> None:
    torch.manual_seed(0)
    encoder = quantised(codes=64)
    x = torch.randn(2, 3).repeat(50, 1)  # 2 rows of 3 places: six vectors at most
    usage = []
    for _ in range(300):
        encoder.learn(encoder.statistics(encoder(x)))
        usage.append(number(encoder.usage()["usage"]))
    assert max(usage[250:]) < 0.2, "six, and some that others have just replaced"
    assert number(encoder.usage()["perplexity"]) < 8


def test_a_codebook_starts_spread_over_the_first_batch() -> None:
    torch.manual_seed(0)
    encoder = quantised(codes=1_000)
    mean, deviation = torch.tensor([3.0, -2.0]), torch.tensor([0.5, 2.0])
    encoder.learn({"shares": torch.full((1_000,), 1e-3), "totals": torch.zeros(1_000, 2),
                   "mean": mean, "square": mean.square() + deviation.square()})  # fmt: skip
    # Five standard errors of a mean, and six of a deviation.
    torch.testing.assert_close(encoder.codebook.mean(0), mean, atol=0.32, rtol=0)
    torch.testing.assert_close(encoder.codebook.std(0), deviation, atol=0, rtol=0.14)


def test_vq_weighs_commitment_and_logs_the_use_of_the_codebook() -> None:
    encoder = quantised(codes=4)
    objective, rows = VectorQuantised(discrete_model(encoder), commitment=0.5), batch()
    encoder.shares.copy_(torch.tensor([0.5, 0.5, 0.0, 0.0]))
    loss = objective.loss(rows)
    posterior = encoder(rows.x)
    entries = encoder.codebook[posterior.indices]
    commitment = (posterior.encoded - entries).square().sum((1, 2)).mean()
    torch.testing.assert_close(loss.value, loss.terms["reconstruction"] + 0.5 * commitment)
    assert number(loss.terms["usage"]) == 0.5
    assert number(loss.terms["perplexity"]) == pytest.approx(2)
    assert number(loss.statistics["shares"].sum()) == pytest.approx(1)
    torch.testing.assert_close(loss.statistics["totals"].sum(0), posterior.encoded.flatten(0, 1).mean(0))


def test_scalar_quantisation_rounds_each_number_to_its_levels() -> None:
    network = gv.MLPEncoder(SPEC, (2, 3), hidden=(5,), posterior="dirac")
    encoder = gv.QuantisedEncoder(SPEC, (2, 3), network=network, quantiser="scalar", levels=(4, 3))
    assert encoder.codebook.shape == (12, 2)
    with torch.no_grad():
        network.head.weight.mul_(30)
    codes = encoder(torch.randn(500, 3)).mean
    assert sorted(set(codes[:, 0].flatten().tolist())) == [-1.0, -0.5, 0.0, 0.5]
    assert sorted(set(codes[:, 1].flatten().tolist())) == [-1.0, 0.0, 1.0]
    assert Autoencoder(discrete_model(encoder)).loss(batch()).value.isfinite()


def test_probabilities_of_all_sequences_of_entries_add_up_to_one_and_are_those_of_draws() -> None:
    encoder = quantised(codes=3)
    prior = gv.Autoregressive((2, 3), encoder, width=8, layers=1, heads=2)
    with torch.no_grad():
        prior.head.weight.mul_(8)
    sequences = torch.tensor(list(itertools.product(range(3), repeat=3)))
    probabilities = prior.log_prob(encoder.codes(sequences)).exp()
    assert number(probabilities.sum()) == pytest.approx(1)
    drawn = encoder.indices(prior.sample(4000))
    numbers = (drawn * torch.tensor([9, 3, 1])).sum(1)
    frequencies = torch.bincount(numbers, minlength=27) / 4000
    assert number((frequencies - probabilities).abs().max()) < 0.03


def test_the_vamp_prior_is_the_average_of_the_posteriors_of_its_inputs() -> None:
    encoder = gv.MLPEncoder(gv.DataSpec((3,)), Z, hidden=(5,))
    prior = gv.Vamp(gv.DataSpec((3,)), Z, encoder, components=4)
    z = torch.randn(6, 2)
    posterior = encoder(prior.inputs.sigmoid())
    each = torch.stack(
        [gv.DiagonalNormal(posterior.location[k].expand(6, -1), posterior.log_variance[k].expand(6, -1)).log_prob(z)
         for k in range(4)]
    )  # fmt: skip
    torch.testing.assert_close(prior.log_prob(z), each.exp().mean(0).log())
    draws = prior.sample(20_000)
    expected = posterior.location.mean(0)
    torch.testing.assert_close(draws.mean(0), expected, atol=0.05, rtol=0)


def test_the_density_of_a_latent_flow_integrates_to_one_and_is_that_of_its_draws() -> None:
    prior = gv.LatentFlow([1], width=16, layers=1, steps=20)
    prior.standardise(torch.tensor([2.0]), torch.tensor([13.0]))  # a deviation of 3
    with torch.no_grad():
        for parameter in prior.leave.parameters():
            parameter.mul_(3)
        grid = torch.linspace(-60, 60, 4001)[:, None]
        density = prior.log_prob(grid).exp()
        assert number(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=1e-2)
        mean = number(torch.trapezoid(density * grid[:, 0], grid[:, 0]))
        assert number(prior.sample(20_000).mean()) == pytest.approx(mean, abs=0.15)


def test_guidance_of_one_is_the_conditional_flow_and_more_goes_beyond_it() -> None:
    prior = gv.LatentFlow([2], [3], width=8, layers=1, steps=2)
    condition = torch.eye(3)

    def made(guidance: float) -> Tensor:
        prior.guidance = guidance
        torch.manual_seed(0)
        return prior.sample(3, condition)

    without, with_it, beyond = made(0.0), made(1.0), made(1.1)
    assert not torch.allclose(without, with_it)
    assert number(((beyond - with_it) * (with_it - without)).sum()) > 0


def test_the_critics_of_images_pair_rows_and_the_encoder_is_judged_by_features() -> None:
    rows = batch()
    objective = AdversarialAutoencoder(model("dirac"), SPEC, critic, weight=2.0, r1_weight=0.0, r2_weight=0.0)
    assert [phase.name for phase in objective.phases()] == ["critic", "autoencoder"]
    for parameter in objective.critic.parameters():
        nn.init.zeros_(parameter)
    assert number(objective.critic_loss(rows).value) == pytest.approx(math.log(2))
    loss = objective.loss(rows)
    assert number(loss.value - loss.terms["reconstruction"]) == pytest.approx(2 * math.log(2))
    hybrid = VAEGAN(model(), SPEC, critic)
    torch.manual_seed(4)
    found = hybrid.encoder_loss(rows).terms["reconstruction"]
    torch.manual_seed(4)
    made = hybrid.model.decode(hybrid.model.encode(rows.x).rsample()).mean
    features = hybrid.critic.features
    torch.testing.assert_close(found, 0.5 * (features(made) - features(rows.x)).square().sum(1).mean())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ImportanceWeighted(model(), draws=0), "must be at least 1\\.\n  take  objective.draws=5"),
        (lambda: ELBO(model(), beta=-1.0), "must be at least 0"),
        (lambda: ELBO(model(prior=gv.Mixture(Z)), free_bits=1.0), "only the normal prior"),
        (lambda: ELBO(model(), free_bits=1.0, capacity=2.0), "both"),
        (lambda: quantised(codes=0), "codes: 0 is not possible"),
        (lambda: quantised(quantiser="scalar", levels=(4, 4, 4)), "levels"),
        (lambda: VectorQuantised(model("dirac")), "needs an encoder with a codebook"),
        (lambda: gv.Autoregressive(Z, gv.MLPEncoder(SPEC, Z)), "has none"),
        (lambda: Autoencoder(discrete_model(quantised())), "does not train the codebook"),
        (lambda: gv.Vamp(SPEC, Z, gv.MLPEncoder(SPEC, Z, posterior="dirac")), "points"),
        (lambda: gv.Vamp(SPEC, Z, gv.MLPEncoder(SPEC, Z, batch_norm=True)), "batch norm"),
        (lambda: MMD(model(prior=gv.Hypersphere(Z)), kl_weight=1.0), "all real codes"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(make: Any, said: str) -> None:
    with pytest.raises(gv.ConfigurationError, match=said) as refusal:
        make()
    assert refusal.value.hints or "must" in refusal.value.message
