"""The checks for accelerators, as far as a CPU can run them."""

from __future__ import annotations

import torch
from accelerator import check
from rich.console import Console


def test_the_checks_run_on_a_cpu() -> None:
    found = check(torch.device("cpu"), tiny=True, console=Console(quiet=True))
    assert [row["work"] for row in found["speed"]] == ["vae", "dcgan"]
    assert all(row["engine"] > 0 and row["bare"] > 0 for row in found["speed"])
    assert found["bitwise resume"] == "ok"
    assert found["no wait in a step"] == found["recovery"] == "needs CUDA"
