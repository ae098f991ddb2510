"""What ``streamsvd info`` says of what this package has written: results, models, streams, saves of runs, pipelines; and what is next."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

from streamsvd.checks.paths import is_url, local_path
from streamsvd.store.explanations import path_exists

MOST_FACTS = 12
NEXT = {
    "factorisation": (
        "streamsvd report {place} -o {stem}.html",
        "streamsvd project {place} NEW --out S.zarr",
        "streamsvd reconstruct {place} --out R.zarr",
        "streamsvd verify {place} SOURCE",
    ),
    "model": (
        "streamsvd log {place}",
        "streamsvd update {place} NEW",
        "streamsvd report {place} -o {stem}.html",
    ),
    "kernel_ridge": (
        "streamsvd krr predict {place} NEW --out y.npy",
        "streamsvd report {place} -o {stem}.html",
    ),
    "pipeline": (
        "streamsvd run {place}",
        "streamsvd runs {place}",
        "streamsvd report {place} -o {stem}.html",
    ),
    "": ("streamsvd report {place} -o {stem}.html",),
}
"""What can be done with each; `project` and others are left out where there is no such command."""


def own_kind(source: str) -> str:
    """What a place holds that was written here; empty for anything else, and for a compressed collection."""
    if is_url(source):
        return ""
    place = local_path(source, "source")
    if not path_exists(place):
        return ""
    if not place.is_dir():
        return "pipeline" if place.suffix == ".toml" else ""
    if (place / "collection.json").is_file():
        return ""
    if (place / "model.json").is_file():
        return "model"
    from streamsvd.store.results.reader import is_result, raw_record

    if is_result(place):
        kind = str(raw_record(place).get("kind", ""))
        return "factorisation" if kind in ("svd", "pca") else kind
    if (place / "log").is_dir():
        from streamsvd.store.checkpoints.checkpoint import holds_saves

        return "saves" if holds_saves(place) else ""
    return ""


def own_record(source: str, kind: str) -> dict[str, Any]:
    """What it is, its first facts, and the lines that go on with it."""
    place = local_path(source, "source")
    if kind == "saves":
        purpose = _purpose(place)
        return {
            "status": "opened",
            "name": str(place),
            "what": f"saves of a run of {purpose}",
            "verdict": "The same command, with the same --checkpoint, goes on from it.",
            "facts": [],
            "next": [f"streamsvd {purpose} ... --checkpoint {quote(source)}"],
        }
    from streamsvd.report.writing import make_page

    page = make_page(source)
    facts = [fact for section in page.sections for fact in section.facts]
    return {
        "status": "opened",
        "name": page.title,
        "what": page.what,
        "verdict": page.verdict,
        "cautions": list(page.cautions),
        "facts": [list(fact) for fact in facts[:MOST_FACTS]],
        "next": _next_lines(source, kind),
    }


def _purpose(place: Path) -> str:
    """Which verb saved there."""
    from streamsvd.store.checkpoints.checkpoint import saved_purpose

    return saved_purpose(place)


def _next_lines(source: str, kind: str) -> list[str]:
    from streamsvd.cli.commands import VERBS

    stem = local_path(source).name.split(".")[0] or "report"
    lines = [
        line.format(place=quote(source), stem=quote(stem)) for line in NEXT.get(kind, NEXT[""])
    ]
    return [line for line in lines if line.split()[1] in VERBS]


def show_own(record: dict[str, Any]) -> None:
    """The record in words."""
    import click

    from streamsvd.cli.present import print_facts

    click.echo(f"{record['name']}: {record['what']}")
    click.echo(f"  {record['verdict']}")
    for caution in record.get("cautions", ()):
        click.echo(f"  {caution}")
    print_facts([(name, text) for name, text in record["facts"]])
    click.echo()
    print_facts([("next", line) for line in record["next"]])
