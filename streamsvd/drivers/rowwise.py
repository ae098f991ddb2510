"""All rows of a stored matrix in blocks of one height, counted from the first: chunks and memory change no bit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamsvd.drivers.finite import finite_rows
from streamsvd.drivers.request import as_source
from streamsvd.drivers.stream.feed import Feed
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.errors import BudgetError, SpecError
from streamsvd.protocols import Source
from streamsvd.typing import Matrix

LEAST_UNIT = 64


def real_source(A: Any) -> Source:
    """The source of a real matrix.

    Raises
    ------
    SpecError
        If it is complex.
    """
    source = as_source(A)
    if source.dtype.kind == "c":
        raise SpecError(
            f"{source.name} is complex: rows are sampled and solved for real matrices. Stack real and imaginary parts."
        )
    return source


def check_seed(seed: Any) -> None:
    """Refuse what is no seed of the hash.

    Raises
    ------
    SpecError
        If it is not an integer from 0 to ``2^63 - 1``.
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:
        raise SpecError(f"seed={seed!r} is no seed. Pass an integer from 0 to 2^63 - 1.")


def check_numbers(**given: Any) -> None:
    """Refuse what is no real number; None is left to others.

    Raises
    ------
    SpecError
        Naming the argument.
    """
    for name, value in given.items():
        number = isinstance(value, int | float | np.floating | np.integer)
        if value is not None and (isinstance(value, bool) or not number):
            raise SpecError(f"{name}={value!r} is not a number. Pass one.")


def reader(
    source: Source, height: int, beside: int, allowed: int, what: str, remedy: str
) -> tuple[Feed, int]:
    """How to read blocks of so many rows within the memory, and the memory that takes in all.

    Parameters
    ----------
    source, allowed
        The matrix, and the bytes allowed.
    height
        Rows of a block.
    beside
        Bytes that the mathematics takes beside the rows being read.
    what, remedy
        For the message: what needs the memory, and what to do instead of allowing more.

    Raises
    ------
    BudgetError
        If nothing fits; it names the smallest that does.
    """
    m, n = source.shape
    unit, tried = min(source.chunks[0], m), []
    while True:
        for ahead in (True, False):
            feed = Feed(source, unit, 0, ahead, 0)
            rows = 8 * n * (min(height, m) + 3 * feed.piece)
            tried.append(BASE_BYTES + feed.bytes_needed + rows + beside)
            if tried[-1] <= allowed:
                return feed, tried[-1]
        if unit <= LEAST_UNIT:
            break
        unit = max(LEAST_UNIT, unit // 2)
    least = min(tried)
    raise BudgetError(what, least, allowed, f"Pass memory={least} or more{remedy}.")


def blocks_of_height(
    feed: Feed, height: int, number: int, purpose: str, notify: Callback
) -> Iterator[tuple[int, Matrix]]:
    """Number of the first row of each block, and the block; its memory is used again for the next."""
    m, n = feed.source.shape
    block = np.empty((min(height, m), n))
    first = held = 0
    for rows in _rows(feed, number, purpose, notify):
        at = 0
        while at < rows.shape[0]:
            count = min(block.shape[0] - held, rows.shape[0] - at)
            block[held : held + count] = rows[at : at + count]
            held, at = held + count, at + count
            if held == block.shape[0]:
                yield first, block
                first, held = first + held, 0
    if held:
        yield first, block[:held]


def _rows(feed: Feed, number: int, purpose: str, notify: Callback) -> Iterator[Matrix]:
    """All rows in their order, with the events of the pass."""
    notify(PassStarted(number, purpose, feed.pass_bytes))
    began, at = time.perf_counter(), 0
    for index, pieces in feed.windows():
        for piece in pieces:
            yield finite_rows(feed.source, piece, at)
            at += piece.shape[0]
        notify(SpanDone(number, index + 1, feed.n_windows))
    notify(PassDone(number, purpose, time.perf_counter() - began, None))
