"""What the MLP and the DCGAN networks promise: shapes, conditions, ranges, gradients, clear errors."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from ganvae_dcgan.networks import DCGANCritic, DCGANEncoder, DCGANGenerator
from torch import nn

import ganvae_core as gv
from ganvae_core.builtin.networks import MLPCritic, MLPEncoder, MLPGenerator
from ganvae_core.distributions import DiagonalNormal, Dirac
from ganvae_core.errors import ConfigurationError
from ganvae_core.types import DataSpec

DCGAN: dict[str, Any] = {"filters": 2}
GENERATORS = [(MLPGenerator, {}), (MLPGenerator, {"batch_norm": True}), (DCGANGenerator, DCGAN)]
ENCODERS = [(MLPEncoder, {}), (DCGANEncoder, DCGAN)]
CRITICS = [
    (MLPCritic, {}),
    (MLPCritic, {"dropout": 0.3}),
    (MLPCritic, {"conditioning": "projection", "activation": "maxout"}),
    (DCGANCritic, {**DCGAN, "conditioning": "projection"}),
    (DCGANCritic, DCGAN),
    (DCGANCritic, {"filters": 2, "batch_norm": False}),
]
CONDITIONS = [None, (3,), (2, 2), ()]
IMAGE = (1, 9, 12)


def a_condition(rows: int, shape: tuple[int, ...] | None) -> torch.Tensor | None:
    return None if shape is None else torch.rand(rows, *shape)


def every_parameter_has_a_gradient(module: nn.Module) -> bool:
    return all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in module.parameters())


def image_shapes() -> list[tuple[int, int, int]]:
    """The corners of what is allowed, and sixty sizes between, odd, even and oblong."""
    draw = random.Random(0)
    corners = [(1, 8, 8), (4, 8, 128), (3, 128, 8), (1, 9, 31), (1, 28, 28), (3, 11, 23), (1, 127, 9)]
    return corners + [(draw.randint(1, 4), draw.randint(8, 64), draw.randint(8, 64)) for _ in range(60)]


@pytest.mark.parametrize("condition_shape", CONDITIONS)
@pytest.mark.parametrize(("make", "options"), GENERATORS)
@pytest.mark.parametrize("latent_shape", [(5,), (2, 3)])
def test_generators_give_raw_outputs_and_use_code_and_condition(
    make: Any, options: dict[str, Any], latent_shape: tuple[int, ...], condition_shape: tuple[int, ...] | None
) -> None:
    torch.manual_seed(0)
    generator = make(latent_shape, IMAGE, condition_shape, **options)
    z, condition = torch.randn(6, *latent_shape), a_condition(6, condition_shape)
    raw = generator(z, condition)
    assert raw.shape == (6, *IMAGE)
    raw.square().sum().backward()
    assert every_parameter_has_a_gradient(generator)
    generator.eval()
    with torch.no_grad():
        assert not torch.allclose(generator(z, condition), generator(-z, condition))
        if condition is not None:
            assert not torch.equal(generator(z, condition), generator(z, condition + 1))


@pytest.mark.parametrize("condition_shape", CONDITIONS)
@pytest.mark.parametrize("posterior", ["normal", "dirac"])
@pytest.mark.parametrize(("make", "options"), ENCODERS)
@pytest.mark.parametrize("latent_shape", [(5,), (2, 3)])
def test_encoders_give_the_posterior_that_was_asked_for(
    make: Any,
    options: dict[str, Any],
    latent_shape: tuple[int, ...],
    posterior: str,
    condition_shape: tuple[int, ...] | None,
) -> None:
    torch.manual_seed(0)
    encoder = make(DataSpec(IMAGE), latent_shape, condition_shape, posterior=posterior, **options)
    q = encoder(torch.rand(6, *IMAGE), a_condition(6, condition_shape))
    assert type(q) is (Dirac if posterior == "dirac" else DiagonalNormal)
    assert encoder.deterministic == (posterior == "dirac")
    assert q.mean.shape == q.rsample().shape == (6, *latent_shape)
    loss = q.mean.square().sum() + (q.log_variance.square().sum() if isinstance(q, DiagonalNormal) else 0)
    loss.backward()
    assert every_parameter_has_a_gradient(encoder)


@pytest.mark.parametrize("condition_shape", CONDITIONS)
@pytest.mark.parametrize(("make", "options"), CRITICS)
def test_critics_give_features_and_one_logit_a_row(
    make: Any, options: dict[str, Any], condition_shape: tuple[int, ...] | None
) -> None:
    torch.manual_seed(0)
    critic = make(DataSpec(IMAGE), condition_shape, **options)
    x, condition = torch.rand(6, *IMAGE, requires_grad=True), a_condition(6, condition_shape)
    logits = critic(x, condition)
    assert logits.shape == (6,)
    assert critic.features(x, condition).shape == (6, critic.feature_size)
    logits.square().sum().backward()
    assert every_parameter_has_a_gradient(critic)
    assert x.grad is not None
    assert x.grad.any()
    critic.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            critic.head(critic.features(x, condition), condition), critic(x, condition)
        )
        if condition is not None:
            assert not torch.equal(critic(x, condition), critic(x, condition + 1))


@pytest.mark.parametrize(
    ("make", "shape"), [(MLPCritic, (4,)), (MLPEncoder, (4,)), (DCGANCritic, IMAGE), (DCGANEncoder, IMAGE)]
)
def test_networks_see_the_same_whatever_the_range_of_the_data(make: Any, shape: tuple[int, ...]) -> None:
    facts = [] if "Critic" in make.__name__ else [(2,)]
    unit = torch.rand(5, *shape, dtype=torch.float64)
    outputs: list[torch.Tensor] = []
    for data_range in [(-1.0, 1.0), (0.0, 1.0), (10.0, 260.0), None]:
        torch.manual_seed(0)
        network = make(DataSpec(shape, data_range), *facts).double().eval()
        low, high = data_range or (-1.0, 1.0)
        output = network(unit * (high - low) + low)
        outputs.append(output if isinstance(output, torch.Tensor) else output.mean)
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])


def test_a_fully_connected_encoder_centres_data_at_its_mean() -> None:
    torch.manual_seed(0)
    encoder = MLPEncoder(DataSpec((4,), (10.0, 260.0), mean=60.0), (2,), posterior="dirac")
    seen: list[torch.Tensor] = []
    encoder.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.tensor([[60.0, 10.0, 260.0, 185.0]]))
    torch.testing.assert_close(seen[0], torch.tensor([[0.0, -0.4, 1.6, 1.0]]))


@pytest.mark.parametrize("shape", image_shapes())
def test_dcgan_meets_every_size_of_image(shape: tuple[int, int, int]) -> None:
    generator, encoder = DCGANGenerator([3], shape, filters=1), DCGANEncoder(DataSpec(shape), [3], filters=1)
    x = generator(torch.randn(2, 3))
    assert x.shape == (2, *shape)
    assert encoder(x).mean.shape == (2, 3)
    assert generator.first_shape[1:] == encoder.trunk.layers(x).shape[2:]  # the encoder mirrors the generator


def test_dcgan_has_the_layers_of_radford_2015() -> None:
    torch.manual_seed(0)
    generator, critic = DCGANGenerator([100], (3, 64, 64)), DCGANCritic(DataSpec((3, 64, 64)))
    up = [m for m in generator.layers if isinstance(m, nn.ConvTranspose2d)]
    down = [m for m in critic.trunk.layers if isinstance(m, nn.Conv2d)]
    assert generator.first_shape == (512, 4, 4)
    assert [m.out_channels for m in up] == [256, 128, 64, 3]
    assert [m.out_channels for m in down] == [64, 128, 256, 512]
    assert [m.bias is None for m in up] == [True, True, True, False]
    assert [m.bias is None for m in down] == [False, True, True, True]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in generator.layers) == 4
    assert sum(isinstance(m, nn.BatchNorm2d) for m in critic.trunk.layers) == 3
    for convolution in [*up, *down]:
        assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.05)
    norms = torch.cat([m.weight for m in generator.layers if isinstance(m, nn.BatchNorm2d)])
    assert norms.mean().item() == pytest.approx(1, abs=0.005)
    assert norms.std().item() == pytest.approx(0.02, rel=0.1)


def test_dcgan_has_the_layers_of_infogan_when_it_is_asked_for_them() -> None:
    generator = DCGANGenerator([74], (1, 28, 28), stages=2, dense=1024)
    critic = DCGANCritic(DataSpec((1, 28, 28)), stages=2, dense=1024)
    assert generator.first_shape == (128, 7, 7)
    assert [m.out_channels for m in critic.trunk.layers if isinstance(m, nn.Conv2d)] == [64, 128]
    linear = [m for m in [*generator.modules(), *critic.modules()] if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [
        (74, 1024), (1024, 128 * 7 * 7), (128 * 7 * 7, 1024), (1024, 1),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.BatchNorm1d) for m in [*generator.modules(), *critic.modules()]) == 2
    assert critic.feature_size == 1024
    images = generator(torch.randn(3, 74))
    assert images.shape == (3, 1, 28, 28)
    assert critic.features(images).shape == (3, 1024)
    encoder = DCGANEncoder(DataSpec((1, 28, 28)), [5], filters=2, stages=1, dense=6)
    assert encoder(images).mean.shape == (3, 5)
    assert encoder.head.in_features == 6


def test_a_dense_layer_goes_without_batch_norm_where_the_critic_does() -> None:
    critic = DCGANCritic(DataSpec(IMAGE), filters=2, dense=4, batch_norm=False)
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in critic.modules())


@pytest.mark.parametrize("stages", [0, 4])
def test_dcgan_says_how_many_stages_there_can_be(stages: int) -> None:
    with pytest.raises(ConfigurationError, match=f"images of 28 × 28 have 1 to 3, not {stages}"):
        DCGANGenerator([4], (1, 28, 28), stages=stages)


def test_dcgan_stops_doubling_at_eightfold() -> None:
    assert DCGANGenerator([4], (1, 128, 128), filters=3).first_shape == (24, 4, 4)


def test_dcgan_critic_without_batch_norm_has_none_and_can_be_differentiated_twice() -> None:
    critic = DCGANCritic(DataSpec(IMAGE), filters=2, batch_norm=False)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in critic.modules())
    x = torch.rand(3, *IMAGE, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    convolutions = [m for m in critic.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.weight.grad is not None and m.weight.grad.any() for m in convolutions)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2,), r"images, and this data has shape \(2,\)"),
        ((5, 16, 16), "1 to 4 channels, and these have 5"),
        ((1, 7, 16), "from 8 to 128, and these are 7 × 16"),
        ((1, 16, 129), "from 8 to 128, and these are 16 × 129"),
    ],
)
def test_dcgan_refuses_what_is_no_image_that_it_can_take(shape: tuple[int, ...], said: str) -> None:
    makers = {
        "generator": lambda: DCGANGenerator([4], shape),
        "critic": lambda: DCGANCritic(DataSpec(shape)),
        "encoder": lambda: DCGANEncoder(DataSpec(shape), [4]),
    }
    if "channels" in said:  # a critic may judge packs of images, which have the channels of all of them
        assert makers.pop("critic")()(torch.rand(2, *shape)).shape == (2,)
    for kind, make in makers.items():
        with pytest.raises(ConfigurationError, match=said) as refusal:
            make()
        assert f"{kind}=mlp" in str(refusal.value)


@pytest.mark.parametrize(("make", "options"), [*GENERATORS, *CRITICS, *ENCODERS])
def test_a_missing_superfluous_or_misshapen_condition_is_an_error_that_says_so(
    make: Any, options: dict[str, Any]
) -> None:
    facts = {"Generator": [[4], IMAGE], "Critic": [DataSpec(IMAGE)], "Encoder": [DataSpec(IMAGE), [4]]}
    (positional,) = (value for kind, value in facts.items() if kind in make.__name__)
    values = torch.rand(3, 4) if "Generator" in make.__name__ else torch.rand(3, *IMAGE)
    unconditional, conditional = make(*positional, **options), make(*positional, (10,), **options)
    with pytest.raises(ConfigurationError, match="no condition"):
        unconditional(values, torch.rand(3, 10))
    with pytest.raises(ConfigurationError, match=r"shape \(10,\), and was given no condition"):
        conditional(values)
    with pytest.raises(ConfigurationError, match=r"shape \(10,\), and was given a condition of shape \(9,\)"):
        conditional(values, torch.rand(3, 9))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLPGenerator([4], [3], hidden=(8, -1)),
        lambda: MLPGenerator([4], [3], hidden=(0,)),
        lambda: MLPGenerator([0], [3]),
        lambda: MLPGenerator([4], [3], activation="rleu"),  # pyright: ignore[reportArgumentType]
        lambda: MLPEncoder(DataSpec((3,)), [-2]),
        lambda: MLPEncoder(DataSpec((3,)), [2], posterior="gauss"),  # pyright: ignore[reportArgumentType]
        lambda: MLPCritic(DataSpec((3,)), dropout=1.0),
        lambda: MLPCritic(DataSpec((3,)), dropout=-0.1),
        lambda: DCGANGenerator([4], IMAGE, filters=0),
        lambda: DCGANGenerator([0], IMAGE),
        lambda: DCGANCritic(DataSpec(IMAGE), filters=-3),
        lambda: DCGANCritic(DataSpec(IMAGE), dense=-1),
        lambda: DCGANEncoder(DataSpec(IMAGE), [4], posterior="gauss"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_wrong_options_are_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_a_near_miss_of_an_option_is_named() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'relu'"):
        MLPGenerator([4], [3], activation="rleu")  # pyright: ignore[reportArgumentType]


def test_mlp_networks_equal_layers_written_by_hand() -> None:
    torch.manual_seed(0)
    generator = MLPGenerator([2], [3], hidden=(4,))
    z = torch.randn(5, 2)
    expected = torch.relu(z @ generator.layers[0].weight.T + generator.layers[0].bias)
    expected = expected @ generator.head.weight.T + generator.head.bias
    torch.testing.assert_close(generator(z), expected)
    assert list(generator.state_dict()) == ["layers.0.weight", "layers.0.bias", "head.weight", "head.bias"]


def test_mlp_networks_may_have_no_hidden_layer() -> None:
    critic = MLPCritic(DataSpec((3,)), (2,), hidden=())
    assert critic.feature_size == 5
    assert critic(torch.rand(4, 3), torch.rand(4, 2)).shape == (4,)


def test_mlp_layers_before_a_batch_norm_have_no_bias() -> None:
    generator = MLPGenerator([2], [3], hidden=(4, 4), batch_norm=True)
    assert [m.bias is None for m in generator.modules() if isinstance(m, nn.Linear)] == [True, True, False]


def test_maxout_takes_the_largest_of_five_pieces() -> None:
    torch.manual_seed(0)
    critic = MLPCritic(DataSpec((4,), None), hidden=(3,), activation="maxout")
    x = torch.randn(7, 4)
    pieces = critic.layers[0](x).reshape(7, 3, 5)
    assert torch.equal(critic.features(x), pieces.max(2).values)
    assert critic.feature_size == 3


def test_the_initial_scale_is_that_of_all_weights_and_offsets_are_zero() -> None:
    torch.manual_seed(0)
    generator = MLPGenerator((20,), (30,), hidden=(200, 200), initial_scale=0.02)
    for layer in (generator.layers[2], generator.head):
        # Of 6,000 draws and more: five standard errors are 4.6 %.
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()
    with pytest.raises(ConfigurationError, match="must be a positive number"):
        MLPGenerator((20,), (30,), initial_scale=0.0)


def test_convolutional_networks_are_exported_for_any_number_of_rows() -> None:
    torch.manual_seed(0)
    data = DataSpec(IMAGE)
    generator, encoder = DCGANGenerator((5,), IMAGE, (3,), **DCGAN), DCGANEncoder(data, (5,), (3,), **DCGAN)
    model = gv.Model(generator, gv.StandardNormal([5]), gv.Point(data), encoder).eval()
    rows, condition = torch.export.Dim("rows"), torch.rand(4, 3)
    for module, given in (
        (gv.DecodeModule(model), torch.randn(4, 5)),
        (gv.EncodeModule(model), torch.rand(4, *IMAGE)),
    ):
        exported = torch.export.export(
            module, (given, condition), dynamic_shapes=({0: rows}, {0: rows})
        ).module()
        for count in (2, 4):
            torch.testing.assert_close(
                exported(given[:count], condition[:count]), module(given[:count], condition[:count])
            )
