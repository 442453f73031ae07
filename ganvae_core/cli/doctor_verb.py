"""``ganvae doctor``: describes this machine."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import current_catalogue
from ganvae_core.cli.output import aligned, print_json
from ganvae_core.engine.environment import cores
from ganvae_core.store.directory import DEFAULT_PARENT

if TYPE_CHECKING:
    from ganvae_core.plugins import Catalogue, Plugin

LIBRARIES = ("ganvae", "torch", "numpy", "safetensors", "pyyaml")
HEALTHY = ("ready", "disabled")
GIBIBYTE = 2**30


@dataclass(frozen=True)
class Device:
    """A device that networks can be computed on.

    Args:
        name: as ``--device`` takes it.
        model: what the hardware is called.
        memory_bytes: its own memory; None where that is the machine's, or not known.
        fast_bf16: whether it has bf16 in hardware.
        precision: what ``--precision auto`` takes there.
        reason: why.
    """

    name: str
    model: str
    memory_bytes: int | None
    fast_bf16: bool
    precision: str
    reason: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Describe this machine: versions, devices, precisions, plugins, and folders."""
    catalogue = current_catalogue()
    devices, threads, failure = torch_here()
    problems = [*([failure] if failure else []), *plugin_problems(catalogue)]
    if as_json:
        print_json(as_plain(catalogue, devices, threads, problems))
        return
    for line in aligned([*software(), *hardware(devices, threads), *plugin_facts(catalogue), *places()]):
        click.echo(line)
    click.echo()
    for problem in problems:
        click.echo(f"problem: {problem}")
    click.echo(conclusion(devices, problems))


def torch_here() -> tuple[list[Device], int | None, str]:
    """The devices that torch reports, the threads that it uses, and why it cannot be imported, if so."""
    try:
        import torch

        from ganvae_core.engine.devices import available_devices
    except (ImportError, OSError) as error:  # an incomplete installation of torch may raise anything
        return [], None, f"torch cannot be imported: {' '.join(str(error).split())}"
    # An accelerator comes as `cuda` and as `cuda:0`, `cuda:1`, …, of which the latter say which.
    names = [name for name in available_devices() if ":" in name or name == "cpu"]
    return [device(name) for name in names], torch.get_num_threads(), ""


def device(name: str) -> Device:
    """The properties of a device."""
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
    precision = "bf16" if select_precision(EngineSettings(), here) is torch.bfloat16 else "fp32"
    model, memory = platform.machine(), None
    if here.type == "cuda":
        properties = torch.cuda.get_device_properties(here)
        model, memory = properties.name, properties.total_memory
    return Device(name, model, memory, fast, precision, reason)


def software() -> list[tuple[str, str]]:
    """Versions."""
    found = versions()
    main = [(name, found.pop(name)) for name in ("python", "ganvae", "torch")]
    others = ", ".join(f"{name} {number}" for name, number in found.items())
    return [*main, ("with", others), ("system", platform.platform())]


def versions() -> dict[str, str]:
    """Versions of Python, of ganvae and of what it runs on, by name."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware(devices: list[Device], threads: int | None) -> list[tuple[str, str]]:
    """Cores, memory and devices."""
    used = "" if threads is None else f", torch uses {threads} thread{'' if threads == 1 else 's'}"
    found = [("cores", f"{cores()}{used}")]
    total, available = memory()
    if total is not None:
        rest = "" if available is None else f", {available / GIBIBYTE:.1f} GiB available"
        found.append(("memory", f"{total / GIBIBYTE:.1f} GiB{rest}"))
    for one in devices:
        own = "" if one.memory_bytes is None else f", {one.memory_bytes / GIBIBYTE:.0f} GiB"
        found.append((one.name, f"{one.model}{own}: --precision auto is {one.precision}, {one.reason}"))
    if [one.name for one in devices] == ["cpu"]:
        found.append(("accelerator", "none that torch reports"))
    return found


def memory() -> tuple[int | None, int | None]:
    """Bytes of memory, in total and available, where the system reports them."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return None, None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    information = Path("/proc/meminfo")
    if not information.exists():
        return total, None
    lines = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
    available = lines.get("MemAvailable", "").split()
    return total, int(available[0]) * 1024 if available else None


def plugin_facts(catalogue: Catalogue) -> list[tuple[str, str]]:
    """The plugins by state."""
    return [
        ("plugins" if not number else "", f"{state}: {', '.join(names)}")
        for number, (state, names) in enumerate(by_state(catalogue).items())
    ]


def by_state(catalogue: Catalogue) -> dict[str, list[str]]:
    """Names of plugins by their state, those that are ready first."""
    states = sorted(
        {plugin.state for plugin in catalogue.plugins}, key=lambda state: (state != "ready", state)
    )
    return {state: [plugin.name for plugin in catalogue.plugins if plugin.state == state] for state in states}


def plugin_problems(catalogue: Catalogue) -> list[str]:
    """A line for each unusable plugin that is not disabled, with the command for details."""
    problems = [problem(plugin) for plugin in catalogue.plugins if plugin.state not in HEALTHY]
    unreadable = [f"left out, its entry points cannot be read: {line}" for line in catalogue.unreadable]
    return [*problems, *unreadable]


def problem(plugin: Plugin) -> str:
    """Why a plugin cannot be used."""
    more = " --traceback" if plugin.traceback else ""
    return f"plugin '{plugin.name}' is {plugin.state}: {plugin.reason}      ganvae plugins info {plugin.name}{more}"


def places() -> list[tuple[str, str]]:
    """The folders that are written to, with their free space."""
    from ganvae_core.store.files import cache_folder

    temporary = tempfile.gettempdir()
    return [
        ("runs", f"{Path(DEFAULT_PARENT).absolute()}, {room(Path.cwd())}; --out chooses another folder"),
        ("data", f"read where it lies; what has a name is downloaded to {cache_folder()} (GANVAE_CACHE_DIR)"),
        ("", f"what does not fit in memory goes to {temporary}, {room(Path(temporary))}"),
    ]


def room(folder: Path) -> str:
    """Free space on a folder's disk."""
    return f"{shutil.disk_usage(folder).free / GIBIBYTE:,.1f} GiB free"


def conclusion(devices: list[Device], problems: list[str]) -> str:
    """A summary in one line."""
    if not devices:
        return "nothing can be trained without torch; install it again:  pip install --force-reinstall torch"
    where = f"training takes {devices[0].name} in {devices[0].precision}"
    if problems:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'} above"
        return f"{count}; the rest works, and {where}"
    return f"all is well; {where}:  ganvae run --plugin vae"


def as_plain(
    catalogue: Catalogue, devices: list[Device], threads: int | None, problems: list[str]
) -> dict[str, Any]:
    """All of it as JSON values."""
    total, available = memory()
    return {
        "versions": versions(),
        "system": platform.platform(),
        "cores": cores(),
        "threads": threads,
        "memory_bytes": total,
        "available_memory_bytes": available,
        "devices": [asdict(one) for one in devices],
        "plugins": by_state(catalogue),
        "runs": Path(DEFAULT_PARENT).absolute(),
        "temporary": tempfile.gettempdir(),
        "problems": problems,
    }
