"""What ``streamsvd info`` says of a table of text, and of files that are not read: what they are, and the line that gets them in."""

from __future__ import annotations

from shlex import quote
from typing import Any

from streamsvd.checks.paths import is_url, local_path
from streamsvd.store.explanations import path_exists


def table_record(source: str) -> dict[str, Any] | None:
    """Of a table of text: its columns, and how it is read; None for anything else."""
    if is_url(source):
        return None
    from streamsvd.conversion.text_tables import text_table
    from streamsvd.store.sources.tables.csv_table import open_csv_table

    path = text_table(source)
    if path is None:
        return None
    table = open_csv_table(path)
    names = table.column_names
    told = f"{table.columns:,} columns of numbers"
    if names is not None:
        told += f": {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
    stem = path.name.split(".")[0] or "A"
    return {
        "status": "opened",
        "name": str(path),
        "what": "a table of text, in which rows have no known places",
        "columns": table.columns,
        "has_row_names": table.has_row_names,
        "facts": [
            ["columns", told],
            ["rows", "are named by the first column" if table.has_row_names else "have no names"],
            ["size", f"{path.stat().st_size:,} bytes"],
            *(["remark", remark] for remark in table.remarks),
        ],
        "command": f"streamsvd convert {quote(source)} {quote(stem + '.zarr')}",
    }


def foreign_record(source: str) -> dict[str, Any] | None:
    """Of a file of a kind that is known and not read; None for anything else."""
    if is_url(source):
        return None
    from streamsvd.checks.foreign import file_advice
    from streamsvd.store.sources.kinds import find_kind

    path = local_path(source, "source")
    if not path_exists(path) or path.is_dir() or find_kind(path.absolute()) is not None:
        return None
    found = file_advice(path)
    if found is None:
        return None
    what, line = found
    return {
        "status": "not read",
        "name": str(path),
        "what": f"{what}, which is not read yet",
        "facts": [],
        "command": line,
    }


def show_text(record: dict[str, Any]) -> None:
    """The record in words."""
    import click

    from streamsvd.cli.present import print_facts

    click.echo(f"{record['name']}: {record['what']}")
    print_facts(
        [*((name, text) for name, text in record["facts"]), ("get it in", record["command"])]
    )
