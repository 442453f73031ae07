"""Updates the text of a registry file from the hooks of installed plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import metadata
from typing import Any

from ganvae_core.plugins.catalogue import Plugin
from ganvae_core.plugins.known import KnownPlugin
from ganvae_core.plugins.specs import KINDS

LINE = 110
"""The longest line, in characters, that a list is written on."""


def described(plugin: Plugin, before: KnownPlugin | None) -> KnownPlugin:
    """The entry of a ready plugin.

    Args:
        plugin: it.
        before: its present entry, whose summary and install command are kept.
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
    """The summary of the default recipe, else of the distribution, else of the first component."""
    default = [recipe.summary for recipe in plugin.recipes if recipe.name == plugin.name]
    about = metadata(plugin.distribution)
    stated = [str(about["Summary"])] if "Summary" in about else []
    return [*default, *stated, *(part.summary for part in plugin.components), ""][0]


def stale(plugins: Iterable[Plugin], entries: Mapping[str, KnownPlugin]) -> list[str]:
    """A line for each ready plugin whose entry is missing or differs from its hooks.

    Args:
        plugins: the plugins.
        entries: those of a registry, by name.
    """
    new = {plugin.name: described(plugin, entries.get(plugin.name)) for plugin in plugins}
    return [
        f"{name}: {'its entry differs from its hooks' if name in entries else 'it has no entry'}"
        for name, entry in new.items()
        if entry != entries.get(name)
    ]


def rewritten(
    text: str, entries: Mapping[str, KnownPlugin], plugins: Iterable[Plugin], gone: Iterable[str] = ()
) -> str:
    """The text of a registry file with new entries for these plugins. The rest is kept, with its comments.

    Args:
        text: of the file.
        entries: those in the text, by name.
        plugins: the ready plugins to write.
        gone: names of the entries to drop.
    """
    import tomlkit

    document = tomlkit.parse(text)
    tables: Any = document.setdefault("plugins", tomlkit.table(is_super_table=True))
    for name in gone:
        del tables[name]
    for plugin in plugins:
        new = described(plugin, entries.get(plugin.name))
        table: Any = tables.setdefault(plugin.name, tomlkit.table())
        for field in ("distribution", "entry_point", "summary", "install"):
            table[field] = getattr(new, field)
        provides: Any = table.setdefault("provides", tomlkit.table())
        for field in ("components", "recipes"):
            provides[field] = _list(field, getattr(new, field))
    for name in sorted(tables) if list(tables) != sorted(tables) else ():
        tables[name] = tables.pop(name)
    return tomlkit.dumps(document)


def _list(key: str, values: Sequence[str]) -> Any:
    """A list on one line if it fits, else on one line for each item."""
    import tomlkit

    items = tomlkit.array()
    items.extend(values)
    return items.multiline(len(f"{key} = {items.as_string()}") > LINE)
