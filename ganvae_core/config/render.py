"""A configuration as YAML: complete, in a fixed order, optionally commented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ganvae_core.config.configuration import OF_DATA, OF_OPTIMIZERS
from ganvae_core.config.options import Option, component_options, settings_options
from ganvae_core.config.settings import SLOTS, Configuration, InitialWeights, LatentSettings
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.plugins import Catalogue


def render(configuration: Configuration) -> str:
    """YAML from which ``stored`` makes the same configuration."""
    return yaml.safe_dump(
        configuration.as_dict(), sort_keys=False, allow_unicode=True, default_flow_style=None
    )


def render_commented(configuration: Configuration, catalogue: Catalogue) -> str:
    """The same, with a comment on each option."""
    lines: list[str] = []
    for key, value in configuration.as_dict().items():
        if not isinstance(value, Mapping):
            lines.append(_entry(key, value))
        elif key == "optimizers":
            lines.append("optimizers:")
            for name, optimizer in value.items():
                lines += _block(name, optimizer, _options(key, optimizer, catalogue), indent=2)
        else:
            lines += _block(key, value, _options(key, value, catalogue))
    return "\n".join(lines) + "\n"


def _block(key: str, values: Mapping[str, Any], options: Mapping[str, Option], indent: int = 0) -> list[str]:
    pad = " " * indent
    lines = [f"{pad}{key}:"]
    for name, value in values.items():
        nested = value if _holds_components(value) else []
        entry = f"{pad}  {name}:" if nested else f"{pad}  {_entry(name, value)}"
        summary = options[name].summary.replace("``", "") if name in options else ""
        lines.append(f"{entry:<44}  # {summary}" if summary else entry)
        lines += [f"{pad}    - {_flow(component)}" for component in nested]
    return lines


def _holds_components(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _options(key: str, value: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Option]:
    groups = {"engine": EngineSettings, "latent": LatentSettings, "from": InitialWeights}
    if key in groups:
        return settings_options(groups[key])
    kind, shared = ("optimizer", OF_OPTIMIZERS) if key == "optimizers" else (SLOTS[key], {})
    _, spec = catalogue.component(kind, value["name"])
    options = dict(component_options(catalogue.load(spec)))
    named = Option("name", str, None, spec.summary)
    return {"name": named, **options, **shared, **(OF_DATA if key == "data" else {})}


def _entry(name: str, value: Any) -> str:
    return f"{name}: {_flow(value)}"


def _flow(value: Any) -> str:
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.strip()[1:-1]
