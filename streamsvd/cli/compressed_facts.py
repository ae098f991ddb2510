"""What ``streamsvd info`` says of a compressed collection, and lines about clusters that several commands print."""

from __future__ import annotations

from typing import Any

import click


def is_compressed(source: str) -> bool:
    """Whether it is a compressed collection; of a URL only its store can tell."""
    from streamsvd.checks.paths import is_url, local_path
    from streamsvd.store.explanations import path_exists

    if not is_url(source):
        path = local_path(source, "source")
        return path_exists(path) and path.is_dir() and path_exists(path / "collection.json")
    if not source.startswith(("s3://", "gs://", "az://")):
        return False
    from streamsvd.errors import StoreError
    from streamsvd.store.collections.archive import CompressedStore

    try:
        return CompressedStore.from_address(source).is_there()
    except StoreError:
        return False


def show_compressed(source: str, *, as_json: bool) -> None:
    """Clusters, certified intervals, errors of blocks, bytes before and after."""
    from streamsvd.cli.present import (
        at_least,
        at_most,
        keyed_fields,
        print_facts,
        show_json,
        table_lines,
    )
    from streamsvd.collections.compressed import open_compressed
    from streamsvd.engine.memory import show_bytes

    held = open_compressed(source)
    weighted = set(held.weighted_names)
    if as_json:
        show_json(
            "collection",
            {
                "status": "opened",
                "name": held.name,
                "version": held.version,
                "asked": {f: getattr(held.options, f) for f in held.options.__struct_fields__},
                "rows": held.rows,
                "clusters": [keyed_fields(c, n_residuals="coded") for c in held.clusters],
                "blocks": {
                    name: {
                        "shape": held.shape(name),
                        "dtype": held.kind(name),
                        "cluster": held.labels[name],
                        "error": error,
                        "weighted": name in weighted,
                    }
                    for name, error in held.block_errors.items()
                },
                "zeros": held.zeros,
                "bytes_before": held.bytes_before,
                "bytes_after": held.bytes_after,
                "compression_ratio": held.compression_ratio,
            },
        )
        return
    a = held.options
    rank = "least storage" if a.rank is None else f"rank {a.rank}"
    click.echo(
        f"{held.name}: {len(held):,} matrices of {held.rows:,} rows, version {held.version}\n"
    )
    print_facts(
        [
            (
                "asked",
                f"error {a.error:g} of each {a.mode if a.mode != 'global' else 'collection'}, {rank}, {a.method}"
                + (f", bases within {a.principal:g}" if a.principal is not None else ""),
            ),
            ("weights", f"errors of {len(weighted):,} matrices are weighted" if weighted else ""),
            *cluster_facts(held.clusters, held.block_errors),
            (
                "bytes",
                f"{show_bytes(held.bytes_before)} -> {show_bytes(held.bytes_after)}, {held.compression_ratio:.3g} times less",
            ),
            (
                "missing",
                f"{sum(held.zeros.values()):,} entries of {len(held.zeros)} count as zero"
                if held.zeros
                else "",
            ),
        ]
    )
    click.echo()
    head = ["cluster", "matrices", "rank", "error at least", "at most"]
    rows = [
        [
            str(i),
            str(len(c.members)),
            "raw" if c.raw else str(c.rank),
            at_least(c.error_lower, 4),
            at_most(c.error_upper, 4),
        ]
        for i, c in enumerate(held.clusters)
    ]
    click.echo("\n".join(f"  {line}" for line in table_lines(head, first_lines(rows))))
    click.echo()
    errors = [
        [name, str(held.labels[name]), at_most(e, 4)] for name, e in held.block_errors.items()
    ]
    click.echo(
        "\n".join(
            f"  {line}"
            for line in table_lines(["matrix", "cluster", "error at most"], first_lines(errors))
        )
    )


MOST_LINES = 40


def first_lines(rows: list[list[str]]) -> list[list[str]]:
    """The first of many lines; JSON has all."""
    if len(rows) <= MOST_LINES:
        return rows
    return [
        *rows[: MOST_LINES - 1],
        [f"... {len(rows) - MOST_LINES + 1} more", *[""] * (len(rows[0]) - 1)],
    ]


def cluster_facts(clusters: Any, errors: dict[str, float]) -> list[tuple[str, str]]:
    """Lines about clusters that several verbs print."""
    from streamsvd.cli.present import at_most

    shared = [c for c in clusters if not c.raw]
    raw = sum(len(c.members) for c in clusters if c.raw)
    ranks = sorted(c.rank for c in shared)
    said = f", ranks {ranks[0]} to {ranks[-1]}" if ranks else ""
    coded = sum(c.n_residuals for c in clusters)
    worst = max(errors.values(), default=0.0)
    upper = max((c.error_upper for c in shared), default=0.0)
    return [
        (
            "clusters",
            f"{len(shared):,}{said}"
            + (f"; residuals of {coded:,} matrices" if coded else "")
            + (f"; {raw:,} matrices kept as they are" if raw else ""),
        ),
        (
            "error",
            f"<= {at_most(upper, 4)} of every cluster, <= {at_most(worst, 4)} of every matrix",
        ),
    ]
