"""Parts of a model as modules of tensors that take and give rows in the data's own units, for other runtimes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol, cast, final, get_args, runtime_checkable

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ganvae_core.errors import ConfigurationError, name_of
from ganvae_core.model import DecodeModule, EncodeModule, Model
from ganvae_core.training import Objective
from ganvae_core.types import DataSpec, Units

Part = Literal["generator", "encoder", "reconstruct", "sample", "critic"]
PARTS: tuple[Part, ...] = get_args(Part)
EXAMPLE_ROWS = 2
"""Of the inputs that a graph is traced with; the number of rows stays free."""
TOLERANCE = 1e-5
RANDOM_ROWS = 64
"""Of two passes that differ where a component draws at random."""


@runtime_checkable
class MadeOfNoise(Protocol):
    """A prior whose draws are a function of standard normal noise."""

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) standard normal -> (B, *Z) a draw of the prior."""
        ...


@final
class ToModel(nn.Module):
    """Rows in the source's own units -> x within the model's range.

    Args:
        units: of the source.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, units: Units) -> None:
        super().__init__()
        self.register_buffer("offset", _placed(units, units.offset))
        self.register_buffer("scale", _placed(units, units.scale))

    def forward(self, raw: Tensor) -> Tensor:
        """(B, *X) -> (B, *X) float32."""
        return ((raw.double() - self.offset) / self.scale).float()


@final
class FromModel(nn.Module):
    """x within the model's range -> rows in the source's own units and type.

    Args:
        units: of the source.
        rounds: whether whole numbers are rounded and have a type of whole numbers.
    """

    offset: Tensor
    scale: Tensor
    whole: Tensor

    def __init__(self, units: Units, *, rounds: bool = True) -> None:
        super().__init__()
        count = max(len(units.scale), len(units.offset))
        scale = [0.0 if at in units.constant else value for at, value in enumerate(units.scale)]
        self.register_buffer("offset", _placed(units, units.offset))
        self.register_buffer("scale", _placed(units, scale))
        self.register_buffer("whole", _placed(units, [at in units.whole for at in range(count)]).bool())
        self.kind = row_type(units) if rounds else torch.float64
        self.rounds_columns = rounds and bool(units.whole)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *X) -> (B, *X)."""
        raw = x.double() * self.scale + self.offset
        if self.rounds_columns:
            raw = torch.where(self.whole, raw.round(), raw)
        if self.kind == torch.bool:
            return raw >= 0.5
        if not self.kind.is_floating_point:
            limits = torch.iinfo(self.kind)
            return raw.round().clamp(limits.min, limits.max).to(self.kind)
        return raw.to(self.kind)


@final
class ExportedPart(nn.Module):
    """One part of a model as a function of tensors: inputs in own units in, outputs in own units out.

    Of a table with fields, rows are x (B, D): the positions that ``Field`` describes.

    Args:
        model: in evaluation mode.
        spec: of its data.
        part: which part.
        critic: of the objective, for ``critic``.
        rounds: whether rows of whole numbers are rounded, as ``ganvae sample`` does.

    Raises:
        ConfigurationError: the model has no such part.
    """

    def __init__(
        self,
        model: Model,
        spec: DataSpec,
        part: Part,
        critic: nn.Module | None = None,
        *,
        rounds: bool = True,
    ) -> None:
        super().__init__()
        if part not in PARTS:
            raise ConfigurationError(f"there is no part '{part}'.", f"parts: {', '.join(PARTS)}")
        self.part, self.spec = part, spec
        self.takes_rows = part in ("encoder", "reconstruct", "critic")
        self.gives_rows = part in ("generator", "reconstruct", "sample")
        # The columns of a table are read and written outside of the graph: its rows are x.
        self.units = Units() if spec.encoded else spec.units
        self.to_model = ToModel(self.units) if self.takes_rows else None
        self.from_model = FromModel(self.units, rounds=rounds) if self.gives_rows else None
        self.decode = DecodeModule(model) if self.gives_rows else None
        self.encode = EncodeModule(model) if part in ("encoder", "reconstruct") else None
        self.prior = model.prior if part == "sample" else None
        self.critic = critic if part == "critic" else None
        self.latent_shape: tuple[int, ...] | None = getattr(model.prior, "latent_shape", None)
        if part == "critic" and critic is None:
            raise ConfigurationError("this run has no critic.", f"parts: {', '.join(PARTS[:-1])}")
        if part == "sample" and not isinstance(model.prior, MadeOfNoise):
            raise ConfigurationError(
                f"the prior {name_of(model.prior)} is not a function of normal noise, so whole samples are not"
                " exported.",
                "export the generator, and give it codes:  --part generator",
            )
        if not self.takes_rows and self.latent_shape is None:
            raise ConfigurationError(f"the prior {name_of(model.prior)} has no latent_shape.")

    def forward(self, given: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, …) rows, codes or noise, (B, *K)? -> (B, …) rows, codes or logits."""
        if self.to_model is not None:
            given = self.to_model(given)
        if self.critic is not None:
            return self.critic(given, condition)
        if self.encode is not None:
            given = self.encode(given, condition)
        if self.prior is not None:
            given = cast(MadeOfNoise, self.prior).from_noise(given, condition)
        if self.decode is not None and self.from_model is not None:
            return self.from_model(self.decode(given, condition))
        return given

    @property
    def names(self) -> tuple[list[str], str]:
        """Of the inputs and of the output."""
        first = "rows" if self.takes_rows else "noise" if self.part == "sample" else "codes"
        last = "rows" if self.gives_rows else "logits" if self.part == "critic" else "codes"
        more = [] if self.spec.condition is None else ["condition"]
        return [f"{first}_in" if first == last else first, *more], last

    def example(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random inputs of ``count`` rows on the CPU."""
        if self.takes_rows:
            low, high = self.spec.range or (-2.0, 2.0)
            unit = torch.rand((count, *self.spec.shape), generator=generator, dtype=torch.float64)
            first = FromModel(self.units)((unit * (high - low) + low).float())
        else:
            first = torch.randn((count, *(self.latent_shape or ())), generator=generator)
        if self.spec.condition is None:
            return (first,)
        if self.spec.classes:
            chosen = torch.randint(len(self.spec.classes), (count,), generator=generator)
            return first, torch.eye(len(self.spec.classes))[chosen]
        return first, torch.randn((count, *self.spec.condition), generator=generator)


def row_type(units: Units) -> torch.dtype:
    """The type of a row in own units: that of the source where runtimes have it, else the next wider one."""
    exact = {"uint8": torch.uint8, "bool": torch.bool, "float32": torch.float32, "float16": torch.float32}
    return exact.get(units.dtype, torch.float64 if units.dtype == "float64" else torch.int64)


def as_program(module: ExportedPart) -> ExportedProgram:
    """The part as a graph of ``torch.export``, with any number of rows.

    Raises:
        ConfigurationError: a component cannot be exported.
    """
    inputs = module.example(EXAMPLE_ROWS, torch.Generator().manual_seed(0))
    rows = Dim("rows", min=1)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            _refuse_random(module)
            return torch.export.export(module, inputs, dynamic_shapes=(*({0: rows} for _ in inputs),))
    except ConfigurationError as error:
        if module.part != "critic":
            raise
        raise ConfigurationError(  # a critic of rows and codes, such as BiGAN's
            f"the critic takes more than rows, so it is not exported: {error.message}",
            f"parts: {', '.join(PARTS[:-1])}",
        ) from error
    except Exception as error:  # torch.export raises nearly every kind of error on what it cannot trace
        raise ConfigurationError(
            f"'{module.part}' cannot be exported, because of {_named(module)}: {_first_line(error)}",
            "explore it through a server:  ganvae explore RUN",
            "or use the model from Python:  gv.load(RUN).model",
        ) from error


def refuse_nan(module: ExportedPart, made: Tensor) -> None:
    """Refuse a part that gives NaN.

    Raises:
        ConfigurationError: it does.
    """
    if made.isnan().any():
        raise ConfigurationError(
            f"'{module.part}' is not exported, since it gives NaN.",
            "take an earlier checkpoint:  --checkpoint STEP",
        )


def _refuse_random(module: ExportedPart) -> None:
    """Refuse a part whose output is no function of its inputs.

    Raises:
        ConfigurationError: it is none.
    """
    inputs = module.example(RANDOM_ROWS, torch.Generator().manual_seed(0))
    made = module(*inputs)
    refuse_nan(module, made)
    if not torch.equal(made, module(*inputs)):
        raise ConfigurationError(
            f"'{module.part}' cannot be exported, because {_named(module)} draws at random, as Point draws the"
            " categories of a table.",
            "draw rows:  ganvae sample RUN",
            "or explore it through a server:  ganvae explore RUN",
        )


def as_onnx(module: ExportedPart) -> Any:
    """The part as an ``ONNXProgram`` of torch, whose ``save`` writes a file.

    Raises:
        ConfigurationError: a component cannot be exported, or onnx and onnxscript are not installed.
    """
    program = as_program(module)
    inputs, output = module.names
    try:
        with warnings.catch_warnings(), without_log():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                program, input_names=inputs, output_names=[output], dynamo=True, verbose=False
            )
    except ImportError as error:
        raise ConfigurationError(
            "ONNX files need onnx and onnxscript, which are not installed.", "pip install 'ganvae[onnx]'"
        ) from error
    except Exception as error:  # as above
        raise ConfigurationError(
            f"'{module.part}' has no ONNX form, because of {_named(module)}: {_first_line(error)}",
            "write a .pt2 file, which torch reads",
        ) from error
    assert made is not None
    return made


def run_onnx(model: str | bytes, inputs: tuple[Tensor, ...]) -> Tensor:
    """The output of a graph by ONNX Runtime, on one thread of the CPU.

    Args:
        model: the path of an ONNX file, or its bytes.
        inputs: in the order of the graph's.
    """
    import onnxruntime as runtime  # pyright: ignore

    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    (given,) = session.run(None, dict(zip(names, (each.numpy() for each in inputs), strict=True)))
    return torch.from_numpy(given)


def difference(made: Tensor, exact: Tensor, units: Units) -> float:
    """How far a runtime's output is from torch's, as a share of the units' scale.

    Args:
        made: what the runtime gave. Whole numbers count as right where torch's number, before it is rounded, rounds to
            them.
        exact: what torch gives, not rounded.
        units: of the data.
    """
    if made.dtype == torch.bool:
        apart = torch.where(made == (exact >= 0.5), 0.0, (exact - 0.5).abs())
        return apart.max().item()
    if not made.dtype.is_floating_point:
        limits = torch.iinfo(made.dtype)
        inside = exact.double().clamp(limits.min, limits.max)
        apart = ((made.double() - inside).abs() - 0.5).clamp(min=0)
    else:
        apart = (made.double() - exact.double()).abs()
        whole = list(units.whole)
        if whole and apart.shape[-1] == len(units.scale):
            apart[..., whole] = (apart[..., whole] - 0.5).clamp(min=0)
    return in_scales(apart, units).max().item()


def in_scales(apart: Tensor, units: Units) -> Tensor:
    """Differences (B, *X) as shares of the units' scale; of encoded tables, which have none, as they are."""
    fits = len(units.scale) in (1, apart.shape[units.axis])
    return apart / _placed(units, units.scale).abs() if fits else apart


def _placed(units: Units, values: Sequence[float]) -> Tensor:
    """Offsets or scales in float64, in the shape in which they are broadcast over x."""
    return torch.tensor(values, dtype=torch.float64).reshape(units.shape(values))


@contextmanager
def without_log() -> Generator[None]:
    """Leave out the advice that exporters log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _named(module: ExportedPart) -> str:
    """The components that take part, for a message."""
    parts = (module.encode and module.encode.encoder, module.prior, module.decode and module.decode.generator,
             module.decode and module.decode.observation, module.critic)  # fmt: skip
    return " or ".join(type(part).__name__ for part in parts if part is not None)


def _first_line(error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first.partition(" For more information, run with ")[0][:200]


def critic_of(objective: Objective) -> nn.Module | None:
    """The critic that an objective trains, or None."""
    critic = getattr(objective, "critic", None)
    return critic if isinstance(critic, nn.Module) else None
