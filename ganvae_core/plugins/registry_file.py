"""``registry.toml`` as a file: its entries made anew from what installed plugins say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import metadata
from typing import Any

from ganvae_core.plugins.known import KnownPlugin, parsed
from ganvae_core.plugins.record import Plugin
from ganvae_core.plugins.specs import KINDS

LINE = 110
"""Characters; a list that is longer has a line for each of its items."""


def described(plugin: Plugin, before: KnownPlugin | None) -> KnownPlugin:
    """A plugin's entry: what its hooks say, and what only a person could say as it was before.

    Args:
        plugin: a ready one.
        before: the entry that there is, whose summary and install hint are kept.
    """
    components = sorted(plugin.components, key=lambda part: (KINDS.index(part.kind), part.name))
    return KnownPlugin(
        plugin.name,
        plugin.distribution,
        plugin.entry_point,
        before.summary if before and before.summary else summary_of(plugin),
        before.install if before else f"pip install {plugin.distribution}",
        tuple(f"{part.kind}/{part.name}" for part in components),
        tuple(sorted(recipe.name for recipe in plugin.recipes)),
    )


def summary_of(plugin: Plugin) -> str:
    """One line for people: of the default recipe, else of the distribution, else of the first component."""
    default = [recipe.summary for recipe in plugin.recipes if recipe.name == plugin.name]
    about = metadata(plugin.distribution)
    stated = [str(about["Summary"])] if "Summary" in about else []
    return [*default, *stated, *(part.summary for part in plugin.components), ""][0]


def stale(plugins: Sequence[Plugin], known: Iterable[KnownPlugin]) -> list[str]:
    """A line for each way in which entries differ from the installed plugins that they are for.

    Args:
        plugins: the ready plugins whose entries are to be there.
        known: the entries of a registry.
    """
    entries = {entry.name: entry for entry in known}
    lines: list[str] = []
    for plugin in plugins:
        entry = entries.get(plugin.name)
        if entry is None:
            lines.append(f"{plugin.name}: it has no entry")
            continue
        new = described(plugin, entry)
        for field in ("distribution", "entry_point", "components", "recipes"):
            if getattr(new, field) != getattr(entry, field):
                lines.append(f"{plugin.name}: its {field.replace('_', ' ')} changed")
    return lines


def rewritten(text: str, plugins: Sequence[Plugin], gone: Iterable[str] = ()) -> str:
    """The text of a registry file with the entries of these plugins made anew; all else is kept, comments too.

    Args:
        text: of the file.
        plugins: the ready plugins whose entries are written.
        gone: names of entries that are dropped.
    """
    import tomlkit

    document = tomlkit.parse(text)
    known = parsed(document.unwrap())
    entries: Any = document.setdefault("plugins", tomlkit.table(is_super_table=True))
    for name in gone:
        del entries[name]
    for plugin in plugins:
        new = described(plugin, known.get(plugin.name))
        entry: Any = entries.setdefault(plugin.name, tomlkit.table())
        for field in ("distribution", "entry_point", "summary", "install"):
            entry[field] = getattr(new, field)
        provides: Any = entry.setdefault("provides", tomlkit.table())
        for field in ("components", "recipes"):
            provides[field] = _list(field, getattr(new, field))
    if list(entries) != sorted(entries):
        for name in sorted(entries):
            entries[name] = entries.pop(name)
    return tomlkit.dumps(document)


def _list(key: str, values: Sequence[str]) -> Any:
    """A list on one line while it fits."""
    import tomlkit

    items = tomlkit.array()
    items.extend(values)
    return items.multiline(len(f"{key} = {items.as_string()}") > LINE)
