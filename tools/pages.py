"""What the site has beside the pages of ``docs/``: a hook of mkdocs, see ``mkdocs.yml``.

- A link that leaves ``docs/`` leads to a file of the repository, as it does on a forge: the site has a page for each.
- ``reference/`` has the docstrings of all public names, by family, the options of verbs, and the help of every command.
- A notebook is a page, with the outputs that it stores.
- Pages that the nav does not name come at its end.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click

import streamsvd
from streamsvd.cli import commands as command_line
from streamsvd.verbs import VERBS

ROOT = Path(__file__).parents[1]
WHOLE_PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/RESULTS.md": "measurements.md",
}
"""Pages of the repository that are pages of the site, by the place that they have there."""
FAMILIES = {
    "common": "Opening, loading, certificates, errors",
    "factor": "Factorisations",
    "models": "Models",
    "conversion": "Conversion",
    "single_cell": "Cells",
    "streams": "Streams",
    "kernels": "Kernels",
    "rows": "Rows",
    "graphs": "Graphs",
    "collections": "Collections",
    "estimators": "Estimators",
    "xarray": "Fields of xarray",
    "anndata": "Annotated matrices",
}
BESIDE = {
    "estimators": ("estimators.PCA",),
    "xarray": ("xarray.eof", "xarray.EOFAnalysis"),
    "anndata": ("anndata.pca", "anndata.cells"),
}
"""Public names by family that stand in a module of their own, for `streamsvd` has another thing of the name."""
LINK = re.compile(r"(?<=\]\()[^)\s#:]+")

# Links ----------------------------------------------------------------------------------------------------


def page_of(path: str) -> str:
    """The page of the site that shows a file or folder of the repository."""
    if path in WHOLE_PAGES:
        return WHOLE_PAGES[path]
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))
    return f"files/{path}/index.md"


def origin_of(page: str) -> str:
    """The file of the repository whose links a page of the site has."""
    whole = {place: path for path, place in WHOLE_PAGES.items()}
    return whole.get(page, f"docs/{page}")


def targets(text: str, path: str) -> list[str]:
    """Files and folders of the repository to which a page at a path of it leads."""
    found = (
        posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        for link in LINK.findall(text)
    )
    return [target for target in found if not target.startswith("..") and (ROOT / target).exists()]


def relink(text: str, path: str) -> str:
    """The text of a page at a path of the repository, its links as they are in the site."""
    place = posixpath.dirname(page_of(path)) or "."

    def change(match: re.Match[str]) -> str:
        found = targets(f"]({match[0]})", path)
        return posixpath.relpath(page_of(found[0]), place) if found else match[0]

    return LINK.sub(change, text)


def plain_bars(text: str) -> str:
    """Bars in the code of tables, which a forge wants escaped and mkdocs does not."""

    def change(row: re.Match[str]) -> str:
        return re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), row[0])

    return re.sub(r"^\|.*$", change, text, flags=re.M)


def file_page(path: str) -> str:
    """What the site shows of a file or folder that is no page."""
    whole = ROOT / path
    if whole.is_dir():
        names = sorted(each.name for each in whole.iterdir() if each.is_file())
        return f"# `{path}`\n\n" + "\n".join(f"- [`{name}`]({name}/index.md)" for name in names)
    language = {".py": "python", ".toml": "toml"}.get(whole.suffix, "text")
    return f"# `{path}`\n\n````{language}\n{whole.read_text(encoding='utf-8')}````\n"


def file_pages(texts: dict[str, str]) -> Iterator[str]:
    """Files and folders to which pages lead, by path and text, and what is in such folders."""
    found = {target for path, text in texts.items() for target in targets(text, path)}
    for path in sorted(found):
        if page_of(path).startswith("files/"):
            yield path
            if (ROOT / path).is_dir():
                parts = {
                    f"{path}/{each.name}" for each in (ROOT / path).iterdir() if each.is_file()
                }
                yield from sorted(parts - found)


# The reference --------------------------------------------------------------------------------------------


def public_names() -> dict[str, list[str]]:
    """All public names, by family, what is called before what comes back."""
    names: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for name in sorted(streamsvd._HOMES, key=lambda name: (not name[0].islower(), name)):
        family = streamsvd._HOMES[name].split(".")[1]
        names[family if family in FAMILIES else "common"].append(name)
    for family, more in BESIDE.items():
        names[family] += more
    return names


def option_rows(record: type) -> list[str]:
    """A table of the fields of an options record."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for f in fields(record):
        default = "needed" if f.default is MISSING else f"`{f.default!r}`"
        meaning = f.metadata.get("help", "").replace("|", "\\|")
        rows.append(f"| `{f.name}` | {default} | {meaning} |")
    return rows


def family_page(family: str, names: Iterable[str]) -> str:
    """Docstrings of a family, then what its verbs may be asked."""
    lines = [f"# {FAMILIES[family]}", ""]
    lines += [f"::: streamsvd.{name}\n" for name in names]
    records: dict[type, list[str]] = {}
    for verb in VERBS.values():
        if verb.family == family:
            records.setdefault(verb.resolve("options"), []).append(f"`{verb.name}`")
    for record, verbs in records.items():
        lines += [
            f"## Options of {' and '.join(verbs)}",
            "",
            f"The record `{record.__name__}`:",
            "",
            *option_rows(record),
            "",
        ]
    return "\n".join(lines)


def help_of(command: click.Command, name: str, above: click.Context | None = None) -> Iterator[str]:
    """The help of a command and of those below it, as a terminal shows it."""
    given = {} if above else command_line.verbs.context_settings
    context = click.Context(command, above, name, max_content_width=84, terminal_width=84, **given)
    yield f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            below = command.get_command(context, part)
            assert below is not None
            yield from help_of(below, part, context)


def command_page() -> str:
    """The help of every command."""
    said = "What `streamsvd COMMAND --help` prints. In sentences, with examples: [command line](../cli.md).\n"
    return "\n".join(["# Help of every command\n", said, *help_of(command_line.verbs, "streamsvd")])


def name_table() -> str:
    """Which family has which names."""
    rows = ["", "| family | names |", "|---|---|"]
    for family, names in public_names().items():
        links = ", ".join(f"[`{name}`](reference/{family}.md#streamsvd.{name})" for name in names)
        rows.append(f"| [{FAMILIES[family]}](reference/{family}.md) | {links} |")
    return "\n".join(rows) + "\n"


def reference_pages() -> dict[str, str]:
    """All pages of the reference, by their place in the site."""
    pages = {
        f"reference/{family}.md": family_page(family, names)
        for family, names in public_names().items()
    }
    return pages | {"reference/commands.md": command_page()}


# Notebooks ------------------------------------------------------------------------------------------------


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as a page, and its pictures by name."""
    from nbconvert import MarkdownExporter

    body, resources = MarkdownExporter().from_filename(str(path), {"unique_key": path.stem})
    return body, resources.get("outputs", {})


# What mkdocs calls ----------------------------------------------------------------------------------------


def places(nav: Any) -> Iterator[str]:
    """Pages that a nav names."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from places(part)


def on_config(config: Any) -> None:
    """Pages that nobody has placed come at the end of the nav."""
    pages = {
        each.relative_to(config.docs_dir).as_posix() for each in Path(config.docs_dir).rglob("*.md")
    }
    if more := sorted(pages - set(places(config.nav))):
        config.nav.append({"More": more})


def on_files(files: Any, *, config: Any) -> Any:
    """Pages that are made of something else than Markdown in `docs/`."""
    from mkdocs.structure.files import File

    pages: dict[str, str | bytes] = {**reference_pages()}
    texts = {origin_of(file.src_uri): file.content_string for file in files.documentation_pages()}
    for path, place in WHOLE_PAGES.items():
        texts[path] = pages[place] = (ROOT / path).read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        body, pictures = notebook_page(path)
        texts[f"docs/notebooks/{path.stem}.md"] = pages[f"notebooks/{path.stem}.md"] = body
        pages |= {f"notebooks/{name}": content for name, content in pictures.items()}
    pages |= {page_of(path): file_page(path) for path in file_pages(texts)}
    for place, content in pages.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links as they are in the site; and the table of names."""
    text = plain_bars(relink(markdown, origin_of(page.file.src_uri)))
    return text + name_table() if page.file.src_uri == "api.md" else text
