"""What ``streamsvd info`` says of what this package has written: results, models, streams, saves of runs, pipelines; and what is next."""

from __future__ import annotations

from shlex import quote
from typing import Any

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.errors import SpecError

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
    from streamsvd.store.places import location_of

    try:
        place = place_of(source, "source")
    except SpecError:  # nothing is written to such a URL
        return ""
    here = location_of(place)
    if not here.exists():
        return ""
    if not here.is_folder():
        return "pipeline" if place.suffix == ".toml" else ""
    if here.size("collection.json") is not None:
        return ""
    if here.size("model.json") is not None:
        return "model"
    from streamsvd.store.results.reader import is_result, raw_record

    if is_result(place):
        kind = str(raw_record(place).get("kind", ""))
        return "factorisation" if kind in ("svd", "pca") else kind
    if location_of(place / "log").is_folder():
        from streamsvd.store.checkpoints.checkpoint import holds_saves

        return "saves" if holds_saves(place) else ""
    return ""


def own_record(source: str, kind: str) -> dict[str, Any]:
    """What it is, its first facts, and the lines that go on with it."""
    place = place_of(source, "source")
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


def _purpose(place: PathOrUrl) -> str:
    """Which verb saved there."""
    from streamsvd.store.checkpoints.checkpoint import saved_purpose

    return saved_purpose(place)


def _next_lines(source: str, kind: str) -> list[str]:
    from streamsvd.cli.commands import VERBS

    stem = place_of(source).name.split(".")[0] or "report"
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
