"""``ganvae doctor``: describes this machine."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import current_catalogue
from ganvae_core.cli.output import aligned, labelled, print_json
from ganvae_core.engine.environment import cores
from ganvae_core.store.directory import DEFAULT_PARENT

if TYPE_CHECKING:
    from ganvae_core.plugins import Catalogue

LIBRARIES = ("ganvae", "torch", "numpy", "safetensors", "pyyaml")
HEALTHY = ("ready", "disabled")
GIBIBYTE = 2**30


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Describe this machine: versions, devices, precisions, plugins, and folders."""
    found = examined(current_catalogue())
    if as_json:
        print_json(found)
        return
    plugins = labelled(
        "plugins", [f"{state}: {', '.join(names)}" for state, names in found["plugins"].items()]
    )
    for line in aligned([*software(found), *hardware(found), *plugins, *places()]):
        click.echo(line)
    click.echo()
    for problem in found["problems"]:
        click.echo(f"problem: {problem}")
    click.echo(conclusion(found["devices"], found["problems"]))


def examined(catalogue: Catalogue) -> dict[str, Any]:
    """The state of this machine as JSON values."""
    problems: list[str] = []
    devices: list[dict[str, Any]] = []
    threads = None
    try:
        import torch

        from ganvae_core.engine.devices import available_devices

        # An accelerator is listed as `cuda` and as `cuda:0`, `cuda:1`, …, which name each one.
        names = [name for name in available_devices() if ":" in name or name == "cpu"]
        devices, threads = [device(name) for name in names], torch.get_num_threads()
    except (ImportError, OSError) as error:  # torch is installed in part
        problems.append(f"torch cannot be imported: {' '.join(str(error).split())}")
    for plugin in catalogue.plugins:
        if plugin.state not in HEALTHY:
            more = f"ganvae plugins info {plugin.name}{' --traceback' if plugin.traceback else ''}"
            problems.append(f"plugin '{plugin.name}' is {plugin.state}: {plugin.reason}      {more}")
    problems += [f"left out, its entry points cannot be read: {line}" for line in catalogue.unreadable]
    states = sorted(
        {plugin.state for plugin in catalogue.plugins}, key=lambda state: (state != "ready", state)
    )
    total, available = memory()
    return {
        "versions": {"python": platform.python_version()} | {name: installed(name) for name in LIBRARIES},
        "system": platform.platform(),
        "cores": cores(),
        "threads": threads,
        "memory_bytes": total,
        "available_memory_bytes": available,
        "devices": devices,
        "plugins": {
            state: [plugin.name for plugin in catalogue.plugins if plugin.state == state] for state in states
        },
        "runs": Path(DEFAULT_PARENT).absolute(),
        "temporary": tempfile.gettempdir(),
        "problems": problems,
    }


def device(name: str) -> dict[str, Any]:
    """A device: its name, hardware and own memory, and the precision that ``--precision auto`` takes there, and why."""
    import torch

    from ganvae_core.engine.devices import has_fast_bf16, select_precision
    from ganvae_core.engine.settings import EngineSettings

    here = torch.device(name)
    fast = has_fast_bf16(here)
    if here.type == "cpu":
        reason = "on a CPU small networks are faster in it"
        reason += "; --precision bf16 speeds up convolutions here" if fast else "; this CPU has no fast bf16"
    else:
        reason = "this device has it in hardware" if fast else "this device has no fast bf16"
    properties = torch.cuda.get_device_properties(here) if here.type == "cuda" else None
    return {
        "name": name,
        "model": properties.name if properties else platform.machine(),
        "memory_bytes": properties.total_memory if properties else None,
        "fast_bf16": fast,
        "precision": "bf16" if select_precision(EngineSettings(), here) is torch.bfloat16 else "fp32",
        "reason": reason,
    }


def installed(name: str) -> str:
    """The version of a distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def memory() -> tuple[int | None, int | None]:
    """Bytes of memory, in total and available, where the system reports them."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None, None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    information = Path("/proc/meminfo")
    lines = information.read_text().splitlines() if information.exists() else []
    available = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return total, available[0] if available else None


def software(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Versions, and the system."""
    others = dict(found["versions"])
    main = [(name, others.pop(name)) for name in ("python", "ganvae", "torch")]
    return [
        *main,
        ("with", ", ".join(f"{name} {number}" for name, number in others.items())),
        ("system", found["system"]),
    ]


def hardware(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Cores, memory and devices."""
    threads, total, available = found["threads"], found["memory_bytes"], found["available_memory_bytes"]
    used = "" if threads is None else f", torch uses {threads} thread{'' if threads == 1 else 's'}"
    facts = [("cores", f"{found['cores']}{used}")]
    if total is not None:
        rest = "" if available is None else f", {available / GIBIBYTE:.1f} GiB available"
        facts.append(("memory", f"{total / GIBIBYTE:.1f} GiB{rest}"))
    for one in found["devices"]:
        own = "" if one["memory_bytes"] is None else f", {one['memory_bytes'] / GIBIBYTE:.0f} GiB"
        precision = f"--precision auto is {one['precision']}, {one['reason']}"
        facts.append((one["name"], f"{one['model']}{own}: {precision}"))
    if [one["name"] for one in found["devices"]] == ["cpu"]:
        facts.append(("accelerator", "none that torch reports"))
    return facts


def places() -> list[tuple[str, str]]:
    """The folders that are written to, with their free space."""
    from ganvae_core.store.files import cache_folder

    def room(folder: Path) -> str:
        return f"{shutil.disk_usage(folder).free / GIBIBYTE:,.1f} GiB free"

    temporary = tempfile.gettempdir()
    return [
        ("runs", f"{Path(DEFAULT_PARENT).absolute()}, {room(Path.cwd())}; --out chooses another folder"),
        ("data", f"read where it lies; what has a name is downloaded to {cache_folder()} (GANVAE_CACHE_DIR)"),
        ("", f"what does not fit in memory goes to {temporary}, {room(Path(temporary))}"),
    ]


def conclusion(devices: list[dict[str, Any]], problems: list[str]) -> str:
    """A summary in one line."""
    if not devices:
        return "nothing can be trained without torch; install it again:  pip install --force-reinstall torch"
    where = f"training takes {devices[0]['name']} in {devices[0]['precision']}"
    if problems:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'} above"
        return f"{count}; the rest works, and {where}"
    return f"all is well; {where}:  ganvae run --plugin vae"
