"""``embtune vectors``: vector files, and versions of embeddings in a store beside the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import typer

from paddlenlp_embtune.bundle import embedding_table
from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import (
    CalibrationRowsOption,
    JsonOption,
    NewBundleOption,
    OverwriteOption,
    StoreOption,
    TermGroupsOption,
)
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._run_display import print_parity
from paddlenlp_embtune.cli._store import (
    domain_groups,
    find_store,
    folding_table,
    load_examples_for,
    locked_target,
    open_bundle,
    out,
    print_json,
    select_term_groups,
    store_path,
    version_as_dict,
)
from paddlenlp_embtune.cli._texts import read_tokens
from paddlenlp_embtune.cli.commands import (
    vectors_compare,
    vectors_convert,
    vectors_coverage,
    vectors_evaluate,
    vectors_inspect,
    vectors_train,
)
from paddlenlp_embtune.embeddings.store import (
    VectorStore,
    check_same_space,
    group_tokens,
    replace_rows,
    rows_of_tokens,
    shared_rows,
)
from paddlenlp_embtune.errors import RecipeError, VectorError
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["app"]

app = typer.Typer(
    name="vectors",
    help="Vector files and versions of embeddings: train, inspect, evaluate, convert, save, compare, restore, merge.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("save")
def save(
    source: Annotated[Path, typer.Argument(help="Folder of a bundle, or of its run.")],
    name: Annotated[str, typer.Option(help="Name of the version: letters, digits, '.', '_' and '-'.")],
    store: StoreOption = None,
    note: Annotated[str, typer.Option(help="Note to keep with the version.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Save the embedding of a bundle as a version; creates the store if there is none. Needs no Paddle."""
    bundle = open_bundle(source)
    opened = VectorStore.open(store_path(store, beside=source), create=True)
    table, groups = embedding_table(bundle), domain_groups(bundle.manifest.domain)
    version = opened.save(name, bundle.vocabulary.tokens, table, note=note, source=str(bundle.path), groups=groups)
    err.print(f"saved {name}: {version.new_rows} new rows of {version.rows}, in {opened.path}", markup=False)
    print_json(version_as_dict(version)) if as_json else print(version.id)


@app.command("list")
def list_versions(
    store: StoreOption = None,
    check: Annotated[bool, typer.Option("--check", help="Also read every file, and fail if one is damaged.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the versions in a store and their size on disk."""
    opened = find_store(store)
    size, damage = opened.size(), opened.damage() if check else opened.unreadable()
    if as_json:
        told = [version_as_dict(version) for version in opened.versions()]
        print_json({"store": str(opened.path), "versions": told, "size": to_plain(size), "damage": damage})
    else:
        table = folding_table("version", "id", "saved (UTC)", "rows", "width", "new rows", "note")
        for version in opened.versions():
            figures = (f"{version.rows:,}", str(version.dimension), f"{version.new_rows:,}")
            table.add_row(version.name, version.id[:8], version.created[:19].replace("T", " "), *figures, version.note)
        out.print(table)
        err.print(f"{size.bytes / 1e6:.2f} MB on the disk, {size.table_bytes / 1e6:.2f} MB as tables side by side")
        print_notes(damage)
    if check and damage:
        raise VectorError(
            f"the store {opened.path} is damaged: {damage[0]}; restore the file from a copy, or remove those versions"
        )


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="Name or id of the version.")],
    store: StoreOption = None,
) -> None:
    """Remove a version, and the files that no other version needs."""
    opened = find_store(store)
    freed = opened.remove(name)
    err.print(f"removed {name}: {freed} bytes freed in {opened.path}", markup=False)
    print(freed)


@app.command("merge")
def merge(
    base: Annotated[str, typer.Argument(help="Version to start from.")],
    other: Annotated[str, typer.Argument(help="Version to take rows from.")],
    name: Annotated[str, typer.Option(help="Name of the new version.")],
    row: Annotated[
        Optional[list[str]], typer.Option(metavar="TOKEN", help="Take the row of this token; repeat for more.")
    ] = None,
    group: Annotated[
        Optional[list[str]],
        typer.Option(metavar="NAME", help="Take the rows of the terms of this group; repeat for more."),
    ] = None,
    rows_file: Annotated[Optional[Path], typer.Option(help="Take the rows of the tokens in this file, one per line.")] = None,
    groups: TermGroupsOption = None,
    domain: Annotated[Optional[str], typer.Option(help="Use the term groups of this domain.")] = None,
    bundle: Annotated[Optional[Path], typer.Option(help="Bundle, or run, whose tokenizer splits the terms.")] = None,
    store: StoreOption = None,
    note: Annotated[str, typer.Option(help="Note to keep with the version.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a new version from one version and chosen rows of another, matched by token."""
    if not (row or group or rows_file):
        raise RecipeError("pass the rows to take: --row TOKEN, --group NAME or --rows-file FILE")
    opened = find_store(store, beside=bundle)
    versions = [opened.version(base), opened.version(other)]
    cut = open_bundle(bundle).tokenizer.tokens if bundle is not None else None
    known = select_term_groups(groups, domain, versions)
    (tokens, table), (other_tokens, other_table) = (opened.load(version.name) for version in versions)
    shared = set(tokens) & set(other_tokens)
    named = [*(row or ()), *(read_tokens(rows_file) if rows_file else ())]
    wanted = list(
        dict.fromkeys([*named, *group_tokens(known, group or (), [token for token in tokens if token in shared], cut=cut)])
    )
    check_same_space(tokens, table, other_tokens, other_table)
    mixed = replace_rows(
        table,
        rows_of_tokens(tokens, wanted, where=f"the version {versions[0].name!r}"),
        other_table,
        rows_of_tokens(other_tokens, wanted, where=f"the version {versions[1].name!r}"),
    )
    source = f"{versions[0].name} with {len(wanted)} rows of {versions[1].name}"
    version = opened.save(name, tokens, mixed, note=note, source=source, groups=versions[0].groups, parent=base)
    err.print(f"saved {name}: {source}", markup=False)
    print_json({**version_as_dict(version), "taken": wanted}) if as_json else print(version.id)


@app.command("restore")
@reads_data(labels=True)
def restore(
    data_format: DataFormat,
    version: Annotated[str, typer.Argument(help="Name or id of the version, or latest.")],
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle, or of its run.")],
    to: NewBundleOption,
    overwrite: OverwriteOption = False,
    row: Annotated[
        Optional[list[str]], typer.Option(metavar="TOKEN", help="Restore only the row of this token; repeat for more.")
    ] = None,
    store: StoreOption = None,
    data: CalibrationRowsOption = None,
) -> None:
    """Write a bundle with the embedding of a version, or single rows of it; every engine is exported and verified again."""
    with locked_target(to, overwrite=overwrite):
        opened, saved = open_bundle(bundle), find_store(store, beside=bundle)
        rows = load_examples_for(opened, data, data_format) if data is not None else None
        found = saved.version(version)
        tokens, table = saved.load(found.name)
        own = opened.vocabulary.tokens
        if row:
            wanted = list(dict.fromkeys(row))
            here = rows_of_tokens(own, wanted, where=f"the bundle {opened.path}")
            there = rows_of_tokens(tokens, wanted, where=f"the version {found.name!r}")
        else:
            here, there = shared_rows(own, tokens)
            if not here.size:
                both = f"the version {found.name!r} and the bundle {opened.path}"
                raise VectorError(f"{both} share no token; restore one that fits")
        before = embedding_table(opened)
        if len(here) < len(own):
            check_same_space(own, before, tokens, table)
        mixed = replace_rows(before, here, table, there)
        changed = int(np.count_nonzero((mixed != before).any(axis=1)))
        start_paddle()
        from paddlenlp_embtune.export import restore_embedding

        origin = {"version": found.name, "id": found.id, "rows": len(here)}
        labelled = {"texts": rows.texts, "labels": rows.labels} if rows is not None else {}
        written, notes = restore_embedding(opened, mixed, to, origin=origin, **labelled)
        err.print(
            f"restored {len(here)} of {len(own)} rows from {found.name}; {changed} of them differ from the bundle's",
            markup=False,
        )
        print_parity(written.manifest.parity)
        print_notes(notes)
        print(written.path)


app.command("diff")(vectors_compare.diff)
app.command("ab")(vectors_compare.ab)
app.command("inspect")(vectors_inspect.inspect)
app.command("convert")(vectors_convert.convert)
app.command("coverage")(vectors_coverage.coverage)
app.command("evaluate")(vectors_evaluate.evaluate)
app.command("train")(vectors_train.train)
