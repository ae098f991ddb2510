"""``streamsvd info``: what anything is, a source or what was made of one, and the line that goes on with it."""

from __future__ import annotations

from typing import Any

import click

from streamsvd.cli import options


@click.command("info", short_help="What a source or a result is, and what to do with it.")
@options.source
@click.option(
    "--count",
    is_flag=True,
    help="Read it once: what is missing, constant columns, the range of its entries.",
)
@options.memory
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    count: bool,
    memory: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """What SOURCE is: a matrix, several of them, a table of text, a result, a model, a collection; and the line that goes on with it.

    Reads no values, but for --count.
    """
    from streamsvd.cli.compressed_facts import is_compressed, show_compressed
    from streamsvd.cli.own_facts import own_kind, own_record, show_own
    from streamsvd.cli.present import show_json
    from streamsvd.cli.text_facts import foreign_record, show_text, table_record

    if is_compressed(source):
        show_compressed(source, as_json=as_json)
        return
    if kind := own_kind(source):
        record = own_record(source, kind)
        show_json("result", record) if as_json else show_own(record)
        return
    text = table_record(source) or foreign_record(source)
    if text is not None:
        show_json("foreign", text) if as_json else show_text(text)
        return
    _show_source(source, variable, rows, missing, count, memory, as_json=as_json, quiet=quiet)


def _show_source(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    count: bool,
    memory: str | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from streamsvd.cli.present import print_facts, show_json
    from streamsvd.cli.progress import say, watching
    from streamsvd.cli.source_facts import count_lines, count_record, describe, source_lines
    from streamsvd.cli.sources import fit_source, open_source

    arrays, beside = _contents(source, variable, rows)
    if arrays is not None and len(arrays) > 1:
        _show_arrays(source, arrays, as_json=as_json)
        return
    if arrays and rows is None:
        rows = _rows(arrays[0])
    A = open_source(source, variable, rows, missing)
    for text in getattr(A, "remarks", ()):
        say(text)
    record = describe(A, source, given_words(rows)) | {"also": beside}
    if count:
        with watching(A.nbytes, quiet=quiet) as watch:
            record["counts"] = count_record(fit_source(A, memory, watch), memory, watch)
        if record["counts"]["missing"] and "--nonfinite" not in record["command"]:
            record["command"] += " --nonfinite mean"
    if as_json:
        show_json("source", record)
        return
    click.echo(record["name"])
    lines = source_lines(record)
    if count:
        at = [name for name, _ in lines].index("factorise")
        lines[at:at] = count_lines(record["counts"], record)
    print_facts(lines)


def _contents(source: str, variable: str | None, rows: Any) -> tuple[list[Any] | None, list[str]]:
    """The arrays that may be meant, and those beside the one that is, where no verb needs its name.

    There are none where the source is opened as it is, or says itself what is wrong.
    """
    from pathlib import Path

    from streamsvd.checks.paths import is_url, local_path, split_inside
    from streamsvd.errors import StreamSVDError
    from streamsvd.store.explanations import path_exists
    from streamsvd.store.sources.contents import list_matrices, names_beside_whole

    place: Any = source
    if not is_url(source):
        place, inside = split_inside(local_path(source, "source").absolute())
        variable = variable or inside
        if not isinstance(place, Path) or not path_exists(place):
            return None, []
    try:
        if variable is None and (beside := names_beside_whole(place)) is not None:
            return None, beside
        found = [] if variable and rows is not None else list_matrices(place)
    except (StreamSVDError, OSError, ValueError):
        return None, []  # opening it says what is wrong
    if variable is None:
        return found, []
    wanted = variable.strip("/")
    return [array for array in found if array.name.strip("/") == wanted] or None, []


def _rows(array: Any) -> Any:
    from streamsvd.cli.source_facts import default_rows

    found = default_rows(array)
    return (int(found) if found.isdigit() else found) if found else None


def given_words(rows: Any = None) -> list[str]:
    """The options of the source that the command was given, as words; with the dimensions that make its rows."""
    context = click.get_current_context()
    own = {"source", "count", "memory", "as_json", "quiet", "rows"}
    said: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in own or parameter.param_type_name != "option":
            continue
        flag, raw = parameter.opts[0], _given_values(context, name)
        for value in raw:
            said += [flag] if value is True else [flag, str(value)]
    if rows is not None:
        names = rows if isinstance(rows, tuple) else (rows,)
        said += ["--rows", ",".join(str(name) for name in names)]
    return said


def _given_values(context: click.Context, name: str) -> list[Any]:
    """What was said of an option, whether it became an argument or was kept beside; nothing for a default."""
    from click.core import ParameterSource

    if context.get_parameter_source(name) in (None, ParameterSource.DEFAULT):
        return []
    kept = [
        context.params,
        *(v for k, v in context.meta.items() if k.startswith("streamsvd.") and isinstance(v, dict)),
    ]
    for values in kept:
        if name in values:
            value = values[name]
            if name == "shape":
                return [",".join(str(n) for n in value)]
            return list(value) if isinstance(value, tuple) else [value]
    return []


def _show_arrays(source: str, arrays: list[Any], *, as_json: bool) -> None:
    """Several matrices, each with the line that chooses it."""
    from streamsvd.cli.present import show_json, table_lines
    from streamsvd.cli.source_facts import default_rows
    from streamsvd.engine.memory import show_bytes

    said = given_words()
    rows, records = [], []
    for array in arrays:
        shape = " x ".join(f"{n:,}" for n in array.shape)
        if array.dims is not None:
            shape = ", ".join(f"{d} {n:,}" for d, n in zip(array.dims, array.shape, strict=True))
        words = _choice(source, said, array.name, default_rows(array))
        rows.append([array.name, shape, array.kind, show_bytes(array.nbytes), words])
        records.append(
            {
                "name": array.name, "shape": array.shape, "dtype": str(array.dtype), "dims": array.dims, "nbytes": array.nbytes,
                "command": words,
            }
        )  # fmt: skip
    if as_json:
        show_json("arrays", {"status": "opened", "name": source, "arrays": records})
        return
    click.echo(f"{source}: {len(arrays):,} matrices; choose one\n")
    head = ["variable", "extents", "type", "size", "line"]
    from streamsvd.cli.compressed_facts import first_lines

    click.echo("\n".join(f"  {line}" for line in table_lines(head, first_lines(rows))))


def _choice(source: str, said: list[str], name: str, rows: str) -> str:
    """The line that says more of one of several arrays."""
    from shlex import quote

    words = ["streamsvd", "info", source, *said, "--variable", name]
    return " ".join(quote(word) for word in [*words, *(["--rows", rows] if rows else [])])
