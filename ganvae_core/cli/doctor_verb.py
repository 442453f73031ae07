"""``ganvae doctor``: describes this machine."""

from __future__ import annotations

import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import current_catalogue
from ganvae_core.cli.output import aligned, counted, labelled, print_json
from ganvae_core.data.memory import available_memory
from ganvae_core.engine.environment import cores
from ganvae_core.store.directory import DEFAULT_PARENT
from ganvae_core.store.files import cache_folder

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
    for line in aligned(facts(found)):
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
        devices = [device(name) for name in available_devices() if ":" in name or name == "cpu"]
        threads = torch.get_num_threads()
    except (ImportError, OSError) as error:  # torch is installed in part
        problems.append(f"torch cannot be imported: {' '.join(str(error).split())}")
    states: dict[str, list[str]] = {"ready": []}
    for plugin in catalogue.plugins:
        states.setdefault(plugin.state, []).append(plugin.name)
        if plugin.state not in HEALTHY:
            more = f"ganvae plugins info {plugin.name}{' --traceback' if plugin.traceback else ''}"
            problems.append(f"plugin '{plugin.name}' is {plugin.state}: {plugin.reason}      {more}")
    problems += [f"left out, its entry points cannot be read: {line}" for line in catalogue.unreadable]
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "system": platform.platform(),
        "cores": cores(),
        "threads": threads,
        "available_memory_bytes": available_memory(),
        "devices": devices,
        "plugins": states,
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
    reason = "this device has it in hardware" if fast else "this device has no fast bf16"
    if here.type == "cpu":
        further = "--precision bf16 speeds up convolutions here" if fast else "this CPU has no fast bf16"
        reason = f"on a CPU small networks are faster in it; {further}"
    properties = torch.cuda.get_device_properties(here) if here.type == "cuda" else None
    return {
        "name": name,
        "model": properties.name if properties else platform.machine(),
        "memory_bytes": properties.total_memory if properties else None,
        "fast_bf16": fast,
        "precision": select_precision(EngineSettings(), here),
        "reason": reason,
    }


def facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Versions, hardware, plugins, and the folders that are written to, a line each."""
    versions = dict(found["versions"])
    threads = f", torch uses {counted(found['threads'], 'thread')}" if found["threads"] else ""
    lines = [(name, versions.pop(name)) for name in ("python", "ganvae", "torch")]
    lines += [
        ("with", ", ".join(f"{name} {number}" for name, number in versions.items())),
        ("system", found["system"]),
        ("cores", f"{found['cores']}{threads}"),
        ("memory", f"{found['available_memory_bytes'] / GIBIBYTE:.1f} GiB available"),
    ]
    for one in found["devices"]:
        own = "" if one["memory_bytes"] is None else f", {one['memory_bytes'] / GIBIBYTE:.0f} GiB"
        lines.append(
            (one["name"], f"{one['model']}{own}: --precision auto is {one['precision']}, {one['reason']}")
        )
    if [one["name"] for one in found["devices"]] == ["cpu"]:
        lines.append(("accelerator", "none that torch reports"))
    lines += labelled(
        "plugins", [f"{state}: {', '.join(names)}" for state, names in found["plugins"].items()]
    )
    temporary = found["temporary"]
    return [
        *lines,
        ("runs", f"{found['runs']}, {room(Path.cwd())}; --out chooses another folder"),
        ("data", f"read where it lies; what has a name is downloaded to {cache_folder()} (GANVAE_CACHE_DIR)"),
        ("", f"what does not fit in memory goes to {temporary}, {room(Path(temporary))}"),
    ]


def room(folder: Path) -> str:
    """The free space of a folder's disk."""
    return f"{shutil.disk_usage(folder).free / GIBIBYTE:,.1f} GiB free"


def conclusion(devices: list[dict[str, Any]], problems: list[str]) -> str:
    """A summary in one line."""
    if not devices:
        return "nothing can be trained without torch; install it again:  pip install --force-reinstall torch"
    where = f"training takes {devices[0]['name']} in {devices[0]['precision']}"
    if problems:
        return f"{counted(len(problems), 'problem')} above; the rest works, and {where}"
    return f"all is well; {where}:  ganvae run --plugin vae"
