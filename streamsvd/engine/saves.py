"""Saves of a run that takes several passes: what finished passes found, and the nodes of the one that runs."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsvd.engine.dask_source import KeptDaskColumns
from streamsvd.engine.schedule import Schedule
from streamsvd.engine.tree import Node
from streamsvd.errors import CheckpointMismatch, SpecError, StoreError
from streamsvd.protocols import Source
from streamsvd.store.checkpoints.encoding import decode_value, encode_value
from streamsvd.store.sources.views.filled import FilledColumns
from streamsvd.store.sources.views.kept_columns import KeptColumns
from streamsvd.typing import Matrix

if TYPE_CHECKING:
    from streamsvd.store.checkpoints.checkpoint import Checkpoint
    from streamsvd.store.objects import Objects

SAVE_SECONDS = 30.0
DIGESTS = {
    "rows": "digests of some rows, so it is another matrix",
    "sample": "digests of a sample of the rows, so it is another matrix",
    "nonfinite": "nonfinite= differs, or what is missing",
    "mask": "mask= differs, or which columns have values",
    "b": "digests of the right-hand sides",
    "y": "digests of the targets",
}
"""What is told apart by a digest, which says nothing to a reader."""


@dataclass(slots=True, eq=False)
class Saves:
    """A checkpoint, and what is in it.

    Parameters
    ----------
    store
        Where it is.
    run
        What a run must agree in with the one that was saved.
    kinds
        Data classes among the values.
    seconds
        Least time between two saves.
    """

    store: Checkpoint
    run: dict[str, Any]
    kinds: Mapping[str, type]
    seconds: float
    values: dict[str, Any] = field(default_factory=dict)
    nodes: dict[Node, Any] = field(default_factory=dict)
    current_purpose: str = ""
    saved_at_s: float = 0.0

    @classmethod
    def at(
        cls,
        place: str | os.PathLike[str],
        purpose: str,
        run: dict[str, Any],
        kinds: Mapping[str, type],
        seconds: float = SAVE_SECONDS,
    ) -> Saves:
        """Those at a place; what was saved is there again.

        Raises
        ------
        SpecError
            If the place is empty text, or the saved run is another; it names what differs.
        StoreError
            If what was saved cannot be read.
        """
        from streamsvd.store.checkpoints.checkpoint import Checkpoint

        made = cls(
            Checkpoint.from_address(place, purpose),
            run,
            kinds,
            seconds,
            saved_at_s=time.monotonic(),
        )
        found = made.store.newest()
        if found is None:
            return made
        try:
            held = decode_value(found[0], found[1], kinds)
            check_same_run(held["run"], run, str(place))
            made.values, made.current_purpose = held["values"], held["current"]
            made.nodes = {_node(name): value for name, value in held["nodes"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{os.fspath(place)} was saved by another release: {error!r}. Remove it to begin anew."
            ) from error
        return made

    def known_nodes(self, purpose: str) -> dict[Node, Any]:
        """Nodes of a pass that were found before."""
        if purpose != self.current_purpose:
            self.current_purpose, self.nodes = purpose, {}
        return self.nodes

    def keep_node(self, node: Node, value: Any) -> None:
        """A node of the pass that runs; those it was joined from are needed no more."""
        level, index = node
        below = [n for n in self.nodes if n[0] < level and n[1] >> (level - n[0]) == index]
        for name in below:
            del self.nodes[name]
        self.nodes[node] = value
        self._save_if_due()

    def keep_value(self, name: str, value: Any) -> None:
        """What a pass found, under a name that later saves keep."""
        self.values[name] = value
        self.current_purpose, self.nodes = "", {}
        self._save_if_due()

    def _save_if_due(self) -> None:
        if time.monotonic() - self.saved_at_s >= self.seconds:
            self.store.save(*self.encode())
            self.saved_at_s = time.monotonic()

    def encode(self) -> tuple[Any, dict[str, Any]]:
        """All of it as plain values and arrays."""
        nodes = {f"{level}.{index}": value for (level, index), value in self.nodes.items()}
        held = {
            "run": self.run,
            "values": self.values,
            "nodes": nodes,
            "current": self.current_purpose,
        }
        return encode_value(held)

    def clear(self) -> None:
        """The run is done: nothing to go on from."""
        self.store.clear()


def _node(name: str) -> Node:
    level, index = name.split(".")
    return int(level), int(index)


def check_same_run(saved: Mapping[str, Any], wanted: Mapping[str, Any], place: str) -> None:
    """Refuse to go on from the state of another run.

    Raises
    ------
    CheckpointMismatch
        It names what differs.
    """
    for name, value in wanted.items():
        there = saved.get(name)
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            check_same_run(there, value, place)  # so that the option is named, not all of them
        if there == value:
            continue
        why = f": {DIGESTS[name]}" if name in DIGESTS else ""
        raise CheckpointMismatch(
            f"the checkpoint {place} is of a run with {name}={there!r}, this one has {value!r}{why}. Run with the "
            "same options, or choose another checkpoint."
        )


def open_saves(
    place: str | os.PathLike[str] | None,
    purpose: str,
    schedule: Schedule,
    options: Any,
    *,
    seconds: float = SAVE_SECONDS,
    kinds: tuple[type, ...] = (),
    device: str = "cpu",
    **further: Any,
) -> Saves | None:
    """Saves at a place, of this run and no other; None where there is no place.

    Parameters
    ----------
    place, purpose
        Where, and the verb.
    schedule, options
        What is read and how it is cut, and the record of what was asked: a run with others is refused.
    seconds
        Least time between two saves.
    kinds
        Data classes among what is found.
    device, **further
        What else must be the same.

    Raises
    ------
    SpecError
        If what was saved is of another run; it names what differs.
    StoreError
        If what was saved cannot be read.
    """
    check_seconds(seconds)
    if place is None:
        return None
    source = schedule.source
    run = {
        "source": source.name, "shape": list(source.shape), "dtype": source.dtype.str, "rows": source_fingerprint(source),
        **_treatment(source), **identity(options), "device": device, **{name: _plain(value) for name, value in further.items()},
        "chunks": list(source.chunks), "spans": len(schedule.reader.spans), "height": schedule.layout.unit,
    }  # fmt: skip
    return Saves.at(place, purpose, run, {kind.__name__: kind for kind in kinds}, seconds)


def _treatment(source: Source) -> dict[str, Any]:
    """What was done to the matrix before a verb saw it: which columns are left out, and what takes the place of a NaN."""
    found: dict[str, Any] = {"mask": None, "nonfinite": None}
    while isinstance(source, FilledColumns | KeptColumns | KeptDaskColumns):
        if isinstance(source, FilledColumns):
            found["nonfinite"] = array_digest(source.fill)
        else:
            found["mask"] = array_digest(source.columns.marks)
        source = source.whole
    return found


def identity(options: Any) -> dict[str, Any]:
    """The fields of an options record that decide what is found, as plain values; arrays by their digest."""
    return {
        f.name: _plain(getattr(options, f.name))
        for f in fields(options)
        if f.metadata.get("decides", True)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return array_digest(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def check_saves(place: str | os.PathLike[str] | None, *read: Any) -> Objects | None:
    """Where a checkpoint is to be, refused if it lies in what is read; nothing is written, and there may be none.

    Raises
    ------
    SpecError
        If it is empty text, or is not apart from what is read.
    AccessError
        If a file stands there, or the folder may not be written.
    """
    if place is None:
        return None
    from streamsvd.store.objects import objects_at  # what most runs do not need
    from streamsvd.store.writing.separation import check_apart
    from streamsvd.store.writing.trial import look_at_objects

    objects = objects_at(place, "checkpoint")
    check_apart(objects, *read, name="checkpoint=")
    look_at_objects(objects)
    return objects


def try_saves(place: str | os.PathLike[str] | None, *read: Any) -> None:
    """Refuse a checkpoint that cannot be written, or lies in what is read, before anything is; there may be none.

    Raises
    ------
    SpecError
        If it is empty text, or is not apart from what is read.
    StoreError
        If it cannot be written.
    """
    objects = check_saves(place, *read)
    if objects is not None:
        from streamsvd.store.writing.trial import try_objects

        try_objects(objects)


def array_digest(values: Matrix) -> str:
    """Of an array, to tell it from another."""
    held = np.ascontiguousarray(values).tobytes()
    return hashlib.blake2b(held, digest_size=8).hexdigest()


def check_seconds(seconds: Any) -> None:
    """Refuse what is no time between saves.

    Raises
    ------
    SpecError
        If it is not a number, or below 0.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds < float("inf"):
        raise SpecError(f"save_seconds={seconds!r} is no time. Pass seconds, 0 or more.")


def source_fingerprint(source: Source) -> str:
    """Digest of a few rows: of the same matrix it is the same."""
    m, n = source.shape
    out = np.empty((1, n), dtype=source.dtype)
    found = hashlib.blake2b(digest_size=8)
    for row in sorted({0, m // 3, 2 * m // 3, m - 1}):
        source.read(slice(row, row + 1), slice(0, n), out)
        found.update(out.tobytes())
    return found.hexdigest()
