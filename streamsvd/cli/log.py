"""``streamsvd log``: what a model has absorbed, and how it changed."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import click

from streamsvd.cli import options


@click.command("log", short_help="Versions of a model, their errors and drift.")
@click.argument("model")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the newest N versions.")
@options.as_json
def command(model: str, last: int | None, as_json: bool) -> int:
    """Show the versions of MODEL: blocks, error ledger, what is proved, drift, and whether a refit is advised."""
    from streamsvd.cli.present import print_facts, show_json, table_lines
    from streamsvd.models import Model

    found = Model.open(model)
    versions = found.versions
    entries = versions[-last:] if last else versions
    # One that was lost, and repaired over, has an entry that refers to nothing.
    kept = [e.version for e in versions if e.folder and e.version >= found.kept_from]
    records = [_record(entry) for entry in entries]
    if as_json:
        show_json(
            "log",
            {
                "model": model,
                "version": found.version,
                "n_rows": found.n_rows,
                "n_rows_held": found.n_rows_held,
                "ledger": asdict(found.ledger) if found.version else {},
                "kept_from": found.kept_from,
                "kept": kept,
                "versions": records,
                "advice": found.advice,
            },
        )
        return 0
    if not records:
        click.echo(f"{model}: no version yet")
        return 0
    head = [
        "version",
        "time",
        "kind",
        "new",
        found.spec.axis,
        "rank",
        "error",
        "at best",
        "above best",
        "resolved",
        "groups",
        "held before",
        "turned",
    ]
    click.echo("\n".join(table_lines(head, [_row(r) for r in records])))
    seen = found.ledger
    click.echo()
    print_facts(
        [
            (
                "energy",
                f"{seen.energy:.6g} seen, {seen.discarded:.6g} discarded in {seen.truncations:,} steps",
            ),
            (
                found.spec.axis,
                f"{found.n_rows_held:,} held by the window, {found.n_rows:,} ever absorbed"
                if found.spec.window is not None
                else "",
            ),
            ("kept", f"versions {number_ranges(kept)}, to which rollback can go"),
            (
                "advice",
                found.advice
                or ("none: the error is within what was asked" if found.spec.tol else ""),
            ),
        ]
    )
    return 0


def number_ranges(numbers: list[int]) -> str:
    """Ascending numbers in words.

    Examples
    --------
    >>> number_ranges([1, 4, 5, 6, 9, 10])
    '1, 4 to 6, 9, 10'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found
    )


def _record(entry: Any) -> dict[str, Any]:
    s = entry.summary
    return {
        "version": entry.version,
        "time": entry.time,
        "kind": entry.kind if entry.folder else "lost",
        "blocks": s.blocks,
        "absorbed": s.rows,
        "n_rows": s.n_rows,
        "rank": s.rank,
        "relative_error": s.error,
        "relative_error_lower": s.error_lower,
        "excess": s.excess,
        "resolved": s.resolved,
        "groups": s.groups,
        "captured": s.captured,
        "largest_angle": max(s.angles, default=0.0),
        "tolerance_met": s.tolerance_met,
    }


def _row(r: dict[str, Any]) -> list[str]:
    from streamsvd.numerics.sentences import percent

    held = "" if r["captured"] is None else f"{r['captured']:.2%}"
    angle = "" if r["captured"] is None else f"{math.degrees(r['largest_angle']):.2g}°"
    above = "" if r["excess"] is None else percent(r["excess"])
    proved = ["" if r[name] is None else str(r[name]) for name in ("resolved", "groups")]
    return [
        str(r["version"]), r["time"], r["kind"], f"{r['absorbed']:,}", f"{r['n_rows']:,}",
        str(r["rank"]), f"{r['relative_error']:.2e}", f"{r['relative_error_lower']:.2e}",
        above, *proved, held, angle,
    ]  # fmt: skip
