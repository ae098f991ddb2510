"""The chunks of a conversion: which of them an earlier run has written, those that are missing, and what a run leaves that is stopped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from streamsvd.conversion.identity import source_identity
from streamsvd.conversion.passes import ChunkWriting, TileWriting
from streamsvd.conversion.planning import ConversionPlan
from streamsvd.conversion.spans import row_spans, tile_spans
from streamsvd.engine.events import Callback, SourceRemarked
from streamsvd.engine.run import Run
from streamsvd.labels import Coordinate, Labels
from streamsvd.protocols import Source
from streamsvd.store.explanations import explain_errors
from streamsvd.store.places import ResumableWork
from streamsvd.store.sources.gaps import may_lack
from streamsvd.store.writing.labelled_array import array_name, create_labelled_array
from streamsvd.store.writing.row_chunks import ColumnTiles, RowChunks

TILES = "tiles"
INTACT = "nothing was replaced."
_CHUNK = re.compile(r"(^|/)c/[0-9]+(/0)+$")


def purpose_of(source: Source, plan: ConversionPlan, labels: Labels) -> dict[str, Any]:
    """What is written, and of what: the same again goes on."""
    return {
        "source": source_identity(source, labels),
        "chunk_rows": plan.height,
        "dtype": plan.dtype.str,
    }


def chunks_to_write(
    begun: ResumableWork,
    plan: ConversionPlan,
    labels: Labels,
    beside: Sequence[Coordinate],
    callback: Callback,
) -> tuple[RowChunks, list[bool]]:
    """Where chunks go, and which of them are missing."""
    folder, name = begun.folder, array_name(labels)
    if not begun.is_continued:
        if begun.was_another:
            callback(
                SourceRemarked(
                    f"{begun.home} was begun of another matrix, or with other options: it begins anew"
                )
            )
        with explain_errors(folder, INTACT):
            chunks = create_labelled_array(
                folder,
                labels,
                plan.height,
                plan.dtype,
                has_gaps=may_lack(plan.source),
                beside=beside,
            )
            begun.begin()
        return chunks, [True] * chunks.count
    dims = 1 + len(labels.columns)
    chunks = RowChunks(
        folder / name if name else folder, plan.source.shape, plan.height, plan.dtype, dims
    )
    chunks.clear_partial()
    is_kept: Callable[[int], bool] = chunks.is_there
    if not begun.is_same_boot:  # what lies on the disk may be less than was written
        is_kept = chunks.is_intact
        begun.begin()
    missing = [not is_kept(i) for i in range(chunks.count)]
    for index, absent in enumerate(missing):
        if absent:
            chunks.remove(index)
    kept = len(missing) - sum(missing)
    callback(
        SourceRemarked(
            f"{kept:,} of {len(missing):,} chunks of {begun.home} are there already: it goes on"
        )
    )
    return chunks, missing


def write_chunks(
    run: Run, begun: ResumableWork, plan: ConversionPlan, chunks: RowChunks, missing: list[bool]
) -> None:
    """Read the matrix, and write the chunks that are missing."""
    source, tiles = plan.source, None
    wanted = "" if plan.tiles is None else f"{TILES}-{plan.tiles.layout.axis}-{plan.width}"
    with explain_errors(begun.folder, INTACT):
        for other in begun.location.names():
            if other.startswith(f"{TILES}-") and (other != wanted or not begun.is_same_boot):
                begun.location.clear(other)
    if plan.tiles is not None:
        tiles = ColumnTiles(
            begun.folder / wanted, source.shape, plan.height, plan.width, plan.dtype
        )
        _write_tiles(run, plan, tiles)
        source = tiles
    reader = plan.rows.reader(source, row_spans(plan, missing))
    run.workers = plan.rows.workers
    run(ChunkWriting(chunks, tiles), "rows into chunks", reader=reader)
    chunks.clear_partial()  # of workers that were killed
    if tiles is not None:
        with explain_errors(tiles.folder):
            shutil.rmtree(tiles.folder)


def _write_tiles(run: Run, plan: ConversionPlan, tiles: ColumnTiles) -> None:
    """Read the matrix in tiles of columns, and write those that are missing to files."""
    assert plan.tiles is not None
    layout = plan.tiles.layout
    with explain_errors(tiles.folder, INTACT):
        tiles.folder.mkdir(exist_ok=True)
    spans = [span for span in tile_spans(plan) if not tiles.done_path(*span).exists()]
    if spans:
        run.workers = plan.tiles.workers
        along = layout.axis == "columns"
        reader = plan.tiles.reader(plan.source, spans)
        run(TileWriting(tiles, along), "columns into files", reader=reader)


def leave_written(begun: ResumableWork, callback: Callback) -> None:
    """Leave what was written for the same call, if there is any; nothing else stays."""
    keys = begun.location.keys()
    if not any(key.endswith(".done") or _CHUNK.search(key) for key in keys):
        begun.remove()
        return
    begun.leave()
    callback(
        SourceRemarked(
            f"what was written is in {begun.home}: the same again goes on from it; remove it if it is not wanted"
        )
    )
