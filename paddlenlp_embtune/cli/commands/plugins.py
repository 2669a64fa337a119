"""``embtune plugins``: which plugins are loaded, and what they registered."""

from __future__ import annotations

import json

from rich.table import Table

from paddlenlp_embtune.cli._options import JsonOption
from paddlenlp_embtune.cli._terminal import out
from paddlenlp_embtune.plugin import owners, registry

__all__ = ["plugins"]


def plugins(as_json: JsonOption = False) -> None:
    """List plugins, the hooks they implement, and everything they registered."""
    current = registry.current()
    loaded = [{"name": name, "source": source, "hooks": hooks} for name, source, hooks in owners(current.manager)]
    things = [{"kind": entry.kind, "name": entry.name, "plugin": entry.owner} for entry in current.entries()]
    if as_json:
        print(json.dumps({"plugins": loaded, "registered": things}, ensure_ascii=False))
        return
    table = Table("plugin", "source", "hooks")
    for row in loaded:
        table.add_row(str(row["name"]), str(row["source"]), "\n".join(row["hooks"]))
    out.print(table)
    table = Table("kind", "name", "plugin")
    for thing in things:
        table.add_row(thing["kind"], thing["name"], thing["plugin"])
    out.print(table)
