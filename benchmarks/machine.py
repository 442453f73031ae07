"""What a figure was taken on: stored beside each."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import ganvae_core as gv


def machine(device: torch.device | None = None) -> dict[str, Any]:
    """Processor, cores, threads, versions and the day; of an accelerator also its name."""
    where = {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ganvae": gv.__version__,
        "date": datetime.date.today().isoformat(),
    }
    if device is not None and device.type == "cuda":
        where["device"] = torch.cuda.get_device_name(device)
    return where


def describe(where: Mapping[str, Any]) -> str:
    """A machine in words, for tables."""
    return f"{where['cpu']}, {where['cores']} cores, Python {where['python']}, torch {where['torch']}, {where['date']}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
