"""The device and the precision of a run."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from ganvae_core.engine.settings import EngineSettings
from ganvae_core.errors import ConfigurationError

Precision = Literal["fp32", "tf32", "bf16"]


def available_devices() -> list[str]:
    """Values of ``engine.device`` on this machine: the accelerators that torch reports, then ``cpu``."""
    names: list[str] = []
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        count = torch.accelerator.device_count()
        names = [accelerator.type, *(f"{accelerator.type}:{index}" for index in range(count))]
    return [*names, "cpu"]


def select_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the accelerator that torch reports, else the CPU.

    Raises:
        ConfigurationError: this machine has no such device; the message lists its devices.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise ConfigurationError(
            f"engine.device: there is no device '{name}' here.",
            f"devices: {', '.join(['auto', *available])}",
        )
    return torch.device(name)


def peak_memory(device: torch.device) -> dict[str, float]:
    """``peak_megabytes`` of this process so far: what tensors took on an accelerator, or all of its memory on a CPU.

    Empty where the system does not say it.
    """
    if device.type == "cuda":
        return {"peak_megabytes": torch.cuda.max_memory_allocated(device) / 1e6}
    if sys.platform == "linux":
        # Unlike getrusage's, this is not inherited from the process that started this one.
        lines = Path("/proc/self/status").read_text("ascii", errors="replace").splitlines()
        found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return {"peak_megabytes": int(found[0]) * 1024 / 1e6} if found else {}
    if sys.platform == "darwin":
        import resource

        return {"peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    return {}


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 numbers, without emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        flags = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, flag)() for flag in flags if hasattr(torch.cpu, flag))
    return device.type in ("xpu",)


def has_tf32(device: torch.device) -> bool:
    """Whether the hardware multiplies TF32 numbers."""
    return device.type == "cuda" and torch.cuda.is_available() and torch.cuda.is_tf32_supported()


def select_precision(settings: EngineSettings, device: torch.device) -> Precision:
    """The precision in which the networks compute.

    ``auto`` takes bf16 on accelerators that have it, else TF32, else fp32. On a CPU it takes fp32, where small networks
    are faster and golden numbers hold; ``bf16`` may be asked for and about doubles the speed of convolutions on CPUs
    that have it.

    Raises:
        ConfigurationError: bf16 or TF32 was asked for on a device without it.
    """
    wanted = settings.precision
    if wanted == "fp32" or (wanted == "auto" and device.type == "cpu"):
        return "fp32"
    if wanted in ("auto", "bf16") and has_fast_bf16(device):
        return "bf16"
    if wanted in ("auto", "tf32") and has_tf32(device):
        return "tf32"
    if wanted == "auto":
        return "fp32"
    name = "fast bf16" if wanted == "bf16" else "TF32"
    raise ConfigurationError(
        f"engine.precision: this {device.type} has no {name}.", "use --precision fp32 (or auto)"
    )


def precision_here(settings: EngineSettings, device: torch.device) -> Precision:
    """The precision of a run, or fp32 where this device does not have it."""
    try:
        return select_precision(settings, device)
    except ConfigurationError:
        return "fp32"


def runtime(device: torch.device, precision: Precision) -> dict[str, Any]:
    """The causes of rounding differences: versions, threads, device and precision, as JSON values."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": name,
        "precision": precision,
    }


@contextmanager
def computing_threads(count: int | None) -> Generator[None]:
    """A context in which torch computes with so many threads; None for as many as before."""
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


@contextmanager
def subnormals_as_zero() -> Generator[None]:
    """A context in which the CPU takes numbers below 1.2e-38 for zero, where it can.

    Adam's means of gradients that have become exactly zero, as behind a ReLU, shrink to such numbers and stay there.
    Processors compute with them many times slower: a step of ``vae`` took twice as long after a thousand steps.
    This is a setting of a thread. The threads of torch take it over from the thread that first needs them, and keep it.
    """
    before = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
