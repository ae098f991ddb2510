"""What every source and every pass must keep, as two calls: a new one is tested by them, and a user's own can be too.

::

    assert_source("matrix.zarr", like=A)
    assert_pass(GramPass(Preparation("rows"), 12), A, device="strict")

Each raises `AssertionError` that names the law that is broken, and where.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.engine.device import Device, thread_backend
from streamsvd.engine.opening import as_source
from streamsvd.engine.passes import Block, Pass
from streamsvd.protocols import Source, is_sparse
from streamsvd.store.checkpoints.encoding import decode_value, encode_value

Array = npt.NDArray[Any]
Rectangle = tuple[slice, slice]
GUARD = 64
"""Bytes before and after ``out`` that a source must leave alone."""
GUARD_BYTE = 0xA5
ODD_RECTANGLES = 12
THREADS = 4


def _require(law: bool, said: str) -> None:
    """Raise unless a law holds; what is said names it."""
    if not law:
        raise AssertionError(said)


def assert_source(source: Any, like: Array, *, seed: int = 0) -> None:
    """Raise unless a source reads as one matrix, however it is asked.

    Its shape, chunks and sizes are Python ints that fit together; every chunk, and rectangles across chunks, fill ``out`` and
    nothing beside it; threads at once read the same, and so does a pickled copy; a rectangle that is wrong is refused. Runs of
    one that is sparse are the rows of the matrix, in order and without duplicates, and no longer than it says beforehand.

    Parameters
    ----------
    source
        A `streamsvd.protocols.Source`, or what `streamsvd.open` takes.
    like
        The matrix that is to be read, in the type that is delivered, NaN where an entry is missing.
    seed
        Of the rectangles that are tried beside the chunks.

    Raises
    ------
    AssertionError
        If a law is broken; it names it.

    Notes
    -----
    Cost: the matrix is read four times, and some rectangles of it; a sparse one four times more.

    Examples
    --------
    >>> import numpy as np
    >>> from streamsvd.testing import assert_source
    >>> assert_source(np.eye(5, 3), like=np.eye(5, 3))
    """
    source = as_source(source)
    _assert_sizes(source, like)
    tried = [*_chunk_grid(source), *_odd_rectangles(like.shape, np.random.default_rng(seed))]
    for part in tried:
        _assert_reads(source, part, like)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda part: _assert_reads(source, part, like, "by a thread"), tried[::-1]))
    copy = pickle.loads(pickle.dumps(source))
    _assert_sizes(copy, like)
    for part in tried:
        _assert_reads(copy, part, like, "after pickling")
    if is_sparse(source):
        _assert_entries(source, copy, like, np.random.default_rng(seed))
    m, n = source.shape
    for row, column in ((0, 0), (0, n - 1), (m - 1, 0), (m - 1, n - 1)):
        place = source.locate(row, column)
        _require(
            isinstance(place, str) and place != "",
            f"locate({row}, {column}) of {source.name} is {place!r}, not the name of a chunk.",
        )
    _assert_refusals(source)


def _assert_sizes(source: Source, like: Array) -> None:
    name = source.name
    _require(isinstance(name, str) and name != "", f"name is {name!r}, not a text.")
    for what in ("shape", "chunks"):
        pair = getattr(source, what)
        _require(
            isinstance(pair, tuple) and len(pair) == 2 and all(type(size) is int for size in pair),
            f"{what} of {name} is {pair!r}, not two Python ints.",
        )
    _require(
        source.shape == like.shape, f"{name} has shape {source.shape}, the matrix {like.shape}."
    )
    _require(
        isinstance(source.dtype, np.dtype) and source.dtype == like.dtype,
        f"{name} delivers {source.dtype!r}, the matrix is {like.dtype!r}.",
    )
    _require(
        all(1 <= size <= extent for size, extent in zip(source.chunks, source.shape, strict=True)),
        f"chunks {source.chunks} of {name} are not within its shape {source.shape}.",
    )
    _require(
        type(source.nbytes) is int and source.nbytes == like.nbytes,
        f"nbytes of {name} is {source.nbytes!r}, and {like.nbytes} Python ints are meant.",
    )
    _require(
        type(source.read_bytes) is int and source.read_bytes >= 0,
        f"read_bytes of {name} is {source.read_bytes!r}, not a Python int of 0 or more.",
    )


def _chunk_grid(source: Source) -> Iterator[Rectangle]:
    """Every chunk."""
    (m, n), (height, width) = source.shape, source.chunks
    for i in range(0, m, height):
        for j in range(0, n, width):
            yield slice(i, min(i + height, m)), slice(j, min(j + width, n))


def _odd_rectangles(shape: tuple[int, int], rng: np.random.Generator) -> Iterator[Rectangle]:
    """The whole, single rows and columns, and some rectangles that end where no chunk does."""
    m, n = shape
    whole = slice(0, m), slice(0, n)
    yield whole
    for i in sorted({0, m // 2, m - 1}):
        yield slice(i, i + 1), whole[1]
    for j in sorted({0, n // 2, n - 1}):
        yield whole[0], slice(j, j + 1)
    for _ in range(ODD_RECTANGLES):
        (a, b), (c, d) = (sorted(int(x) for x in rng.integers(0, size + 1, 2)) for size in shape)
        if a < b and c < d:
            yield slice(a, b), slice(c, d)


def _guard(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Memory full of a pattern, and an array in the middle of it."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.full(size + 2 * GUARD, GUARD_BYTE, dtype=np.uint8)
    return memory, memory[GUARD : GUARD + size].view(dtype).reshape(shape)


def _assert_reads(source: Source, part: Rectangle, like: Array, how: str = "") -> None:
    rows, columns = part
    wanted = like[rows, columns]
    memory, out = _guard(wanted.shape, source.dtype)
    source.read(rows, columns, out)
    where = f"{source.name}[{rows.start}:{rows.stop}, {columns.start}:{columns.stop}]"
    where += f" {how}" * bool(how)
    _require(
        bool((memory[:GUARD] == GUARD_BYTE).all() and (memory[-GUARD:] == GUARD_BYTE).all()),
        f"reading {where} wrote beside out.",
    )
    same = (out == wanted) | (np.isnan(out) & np.isnan(wanted))
    if not same.all():
        i, j = np.argwhere(~same)[0]
        raise AssertionError(
            f"reading {where} gave {out[i, j]!r} at row {rows.start + i}, column {columns.start + j}; the matrix has "
            f"{wanted[i, j]!r}."
        )


def _assert_entries(source: Any, copy: Any, like: Array, rng: np.random.Generator) -> None:
    """The laws of a source that is read without its zeros."""
    name, axis = source.name, source.sparse_axis
    _require(axis in ("rows", "columns"), f"sparse_axis of {name} is {axis!r}.")
    rows = like if axis == "rows" else like.T
    for what in ("entries", "stored_bytes"):
        value = getattr(source, what)
        _require(
            type(value) is int and value >= 0, f"{what} of {name} is {value!r}, not a count in int."
        )
    length = rows.shape[0]
    cuts = sorted({0, length, *rng.integers(0, length + 1, ODD_RECTANGLES).tolist()})
    runs = [slice(a, b) for a, b in pairwise(cuts)]
    everything = [*runs, slice(0, length), *(slice(i, i + 1) for i in {0, length - 1})]
    seen = sum(_assert_run(source, rows, run) for run in runs)
    _require(
        seen <= source.entries, f"{name} has {source.entries} entries, and {seen} were read of it."
    )
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda run: _assert_run(source, rows, run, "by a thread"), everything[::-1]))
    for run in everything:
        _assert_run(copy, rows, run, "after pickling")


def _assert_run(source: Any, rows: Array, run: slice, how: str = "") -> int:
    """One run is that of the matrix; its stored entries."""
    found = source.read_sparse(run)
    where = f"{source.name}.read_sparse({run.start}:{run.stop})" + f" {how}" * bool(how)
    wanted = rows[run]
    _require(
        isinstance(found, sparse.csr_array)
        and found.shape == wanted.shape
        and found.dtype == source.dtype,
        f"{where} is {type(found).__name__} {found.dtype} {found.shape}, and csr_array {source.dtype} {wanted.shape} is meant.",
    )
    kind = np.int32 if max(found.shape[1], found.nnz) < 1 << 31 else np.int64
    _require(
        found.indices.dtype == kind, f"indices of {where} are {found.indices.dtype}, not {kind}."
    )
    same = found.toarray()
    _require(
        bool(((same == wanted) | (np.isnan(same) & np.isnan(wanted))).all()),
        f"{where} is not what the matrix has there.",
    )
    steps = np.diff(found.indices.astype(np.int64))
    steps[found.indptr[1:-1][(found.indptr[1:-1] > 0) & (found.indptr[1:-1] < found.nnz)] - 1] = 1
    _require(
        bool((steps > 0).all()) and found.indptr[0] == 0 and found.indptr[-1] == found.indices.size,
        f"indices of {where} do not ascend within each row.",
    )
    most = source.most_entries(run.stop - run.start)
    _require(
        type(most) is int and found.nnz <= most,
        f"{where} holds {found.nnz} entries, and most_entries promised at most {most!r}.",
    )
    return int(found.nnz)


def _assert_refusals(source: Source) -> None:
    """Rectangles that do not lie inside, or do not fit ``out``, raise `ValueError` (`ShapeError` is one)."""
    (m, n), dtype = source.shape, source.dtype
    other = np.dtype("f4" if dtype != np.dtype("f4") else "f8")
    whole = slice(0, m), slice(0, n)
    wrong = [
        (slice(0, m + 1), whole[1], (m + 1, n), dtype),
        (whole[0], slice(1, n + 1), (m, n), dtype),
        (slice(m, m + 1), whole[1], (1, n), dtype),
        (slice(0, m, 2), whole[1], (-(-m // 2), n), dtype) if m > 1 else None,
        (whole[0], whole[1], (m, n + 1), dtype),
        (whole[0], whole[1], (m + 1, n), dtype),
        (whole[0], whole[1], (m, n), other),
    ]
    for rows, columns, shape, kind in filter(None, wrong):
        try:
            source.read(rows, columns, np.empty(shape, dtype=kind))
        except ValueError:
            continue
        raise AssertionError(
            f"{source.name} of shape {source.shape} and type {dtype} read {rows}, {columns} into {kind} {shape}: such a "
            "rectangle is to be refused by ShapeError."
        )


def assert_pass(
    pass_: Pass[Any, Any],
    matrix: Any,
    *,
    view: Callable[[Any], Any] = lambda partial: partial,
    rtol: float = 1e-10,
    heights: Sequence[int] = (),
    device: str | None = None,
) -> None:
    """Raise unless a pass adds up the same whatever the tasks, and leaves alone what is not its own.

    The same spans are the same bits: again, on threads, from a pickled copy, and where what spans found was saved and read; other
    spans and other blocks are the same up to rounding; `update` writes into no block and keeps none; `merge` changes neither
    side, and `absorb`, where there is one, gives its bits; what leaves a span are host arrays and plain values; tiles of columns,
    where the pass works on them, make what whole rows do.

    Parameters
    ----------
    pass_
        What is to be tested.
    matrix
        The rows, an array ``(m, n)``; or a sequence of blocks in their order: arrays of rows, or what the reader of
        such a pass makes.
    view
        What of a partial result does not depend on how rows are cut, for the laws up to rounding: ``lambda t: t.R.T @ t.R`` of
        a triangle, ``lambda _: ()`` of a sample that shrinks as it is joined. All of it if left out.
    rtol
        Rounding, relative to the largest number of each array.
    heights
        Rows of a block that are tried; two if left out. Of a matrix only.
    device
        A device whose results are to be those of the host up to rounding, such as ``"strict"``.

    Raises
    ------
    AssertionError
        If a law is broken; it names it.

    Notes
    -----
    Cost: some twenty passes over the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from streamsvd.engine.triangle_pass import TrianglePass
    >>> from streamsvd.testing import assert_pass
    >>> assert_pass(TrianglePass(), np.eye(40, 3), view=lambda t: t.R.T @ t.R)
    """
    host, cuts = thread_backend("cpu"), _cuts(matrix, heights)
    expected = view(_fold(pass_, cuts[0], _spans(len(cuts[0]), 1), host))
    for blocks in cuts:
        kit = _PassKit(pass_, blocks, host)
        for count in sorted({1, 2, 3, 5, len(blocks)}):
            spans = _spans(len(blocks), count)
            told = f"{len(spans)} spans of {len(blocks)} blocks"
            _assert_close(
                view(kit.assert_bits(spans, told)), expected, rtol, f"{told} and one span"
            )
    if device is not None:
        there = view(_fold(pass_, cuts[0], _spans(len(cuts[0]), 2), thread_backend(device)))
        _assert_close(there, expected, rtol, f"device {device!r} and the host")
    if hasattr(pass_, "forward"):
        tiled = view(pass_.merge(*(_run_in_tiles(pass_, half, host) for half in _halves(cuts[0]))))
        _assert_close(tiled, expected, rtol, "tiles of columns and whole rows")


class _PassKit:
    """The laws that hold to the last bit, of some blocks."""

    def __init__(self, pass_: Pass[Any, Any], blocks: Sequence[Block], device: Device) -> None:
        self.pass_, self.blocks, self.device = pass_, blocks, device

    def assert_bits(self, spans: Sequence[Sequence[int]], told: str) -> Any:
        """What the pass adds up, once it is known to be the same bits however it is found."""
        pass_, blocks, device = self.pass_, self.blocks, self.device
        partials = [_fold_span(pass_, [blocks[i] for i in span], device) for span in spans]
        for partial in partials:
            _assert_plain(partial)
        found = self._join(partials)
        bits = _bits(found)

        def same(value: Any, how: str) -> None:
            _require(
                _bits(value) == bits,
                f"{told}: {type(pass_).__name__} gave other bits {how}.",
            )

        same(_fold(pass_, blocks, spans, device), "when it was run again")
        same(_fold(pickle.loads(pickle.dumps(pass_)), blocks, spans, device), "after pickling")
        same(self._join([_through_a_store(partial) for partial in partials]), "from what was saved")

        def task(span: Sequence[int]) -> Any:
            mine = thread_backend("cpu")
            return _fold_span(pass_, [blocks[i] for i in span], mine)

        with ThreadPoolExecutor(THREADS) as pool:
            same(_tree(pass_.merge, list(pool.map(task, spans))), "on threads")
        absorb = getattr(pass_, "absorb", None)
        if absorb is not None:
            own = [_through_a_store(partial) for partial in partials]
            same(_tree(absorb, own), "by absorb")
        return found

    def _join(self, partials: list[Any]) -> Any:
        def merge(left: Any, right: Any) -> Any:
            before = _bits(left), _bits(right)
            value = self.pass_.merge(left, right)
            for side, was, now in zip(("left", "right"), before, (left, right), strict=True):
                _require(
                    _bits(now) == was, f"merge of {type(self.pass_).__name__} changed its {side}."
                )
            return value

        return _tree(merge, partials)


def _cuts(matrix: Any, heights: Sequence[int]) -> list[list[Block]]:
    """The rows as blocks, in each way that is tried."""
    if not isinstance(matrix, np.ndarray):
        parts = list(matrix)
        return [_number_blocks(parts) if isinstance(parts[0], np.ndarray) else parts]
    m = matrix.shape[0]
    return [
        _number_blocks([matrix[a : a + height] for a in range(0, m, height)])
        for height in (heights or (m // 7 + 1, m // 3 + 1))
    ]


def _number_blocks(parts: list[Array]) -> list[Block]:
    """Runs of rows as blocks, each with the number of its first."""
    blocks, first = [], 0
    for rows in parts:
        size = float(np.abs(rows).max()) if np.isfinite(rows).all() else None
        blocks.append(Block(first, slice(0, rows.shape[1]), np.ascontiguousarray(rows), size))
        first += rows.shape[0]
    return blocks


def _spans(blocks: int, count: int) -> list[range]:
    """Runs of blocks, as many as wanted, the first ones no longer than the last."""
    count = min(count, blocks)
    edges = [blocks * i // count for i in range(count + 1)]
    return [range(a, b) for a, b in pairwise(edges)]


def _fold(
    pass_: Pass[Any, Any],
    blocks: Sequence[Block],
    spans: Sequence[Sequence[int]],
    device: Device,
) -> Any:
    partials = [_fold_span(pass_, [blocks[i] for i in span], device) for span in spans]
    return _tree(pass_.merge, partials)


def _tree(join: Callable[[Any, Any], Any], parts: list[Any]) -> Any:
    """Neighbours joined, and then their neighbours."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [join(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


def _fold_span(pass_: Pass[Any, Any], blocks: Sequence[Block], device: Device) -> Any:
    """One span as a task folds it: each block in memory that may not be written, and is another's afterwards."""
    state = pass_.init(device)
    with device.computing():
        for block in blocks:
            if not isinstance(getattr(block, "data", None), np.ndarray):
                state = pass_.update(state, block)
                continue
            memory = block.data.copy()
            lent = memory.view()
            lent.flags.writeable = False
            there = device.to_device(lent)
            state = pass_.update(state, Block(block.first, block.columns, there, block.largest))
            device.finish()
            _require(
                device.to_host(there).tobytes() == block.data.tobytes(),
                f"update of {type(pass_).__name__} wrote into its block.",
            )
            memory.view(np.uint8)[...] = GUARD_BYTE
        return pass_.close(state)


def _halves(blocks: Sequence[Block]) -> list[Sequence[Block]]:
    middle = max(1, len(blocks) // 2)
    return [half for half in (blocks[:middle], blocks[middle:]) if half]


def _run_in_tiles(pass_: Any, blocks: Sequence[Block], device: Device) -> Any:
    """A span as it is folded by tiles of columns: `forward` over the tiles of a block, then `backward` over them."""
    state = pass_.init(device)
    for block in blocks:
        n = block.data.shape[1]
        edges = sorted({0, n // 2, n})
        tiles = [
            Block(block.first, slice(a, b), np.ascontiguousarray(block.data[:, a:b]))
            for a, b in pairwise(edges)
        ]
        products: list[Any] | None = None
        for tile in tiles:
            Y = pass_.forward(state, tile)
            products = Y if products is None else [p + y for p, y in zip(products, Y, strict=True)]
        for tile in tiles if pass_.two_sided else [Block(block.first, tiles[0].columns, None)]:
            pass_.backward(state, tile, products)
    return pass_.close(state)


def _through_a_store(partial: Any) -> Any:
    """A partial result as a checkpoint gives it back."""
    kinds = {kind.__name__: kind for kind in {type(x) for x in _parts(partial) if is_dataclass(x)}}
    plain, arrays = encode_value(partial)
    return decode_value(msgspec.json.decode(msgspec.json.encode(plain)), arrays, kinds)


def _parts(value: Any) -> Iterator[Any]:
    """A value and all that it is made of."""
    yield value
    if is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from _parts(getattr(value, f.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _parts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)


def _leaves(value: Any) -> list[Any]:
    """Arrays, numbers and texts that a value is made of, in their order."""
    return [
        part
        for part in _parts(value)
        if not is_dataclass(part) and not isinstance(part, Mapping | list | tuple)
    ]


def _bits(value: Any) -> list[Any]:
    return [
        (x.dtype.str, x.shape, x.tobytes()) if isinstance(x, np.ndarray) else repr(_plain(x))
        for x in _leaves(value)
    ]


def _plain(x: Any) -> Any:
    return x.item() if isinstance(x, np.generic) else x


def _assert_plain(partial: Any) -> None:
    allowed = (np.ndarray, np.generic, int, float, complex, str, bytes, type(None))
    for x in _leaves(partial):
        _require(
            isinstance(x, allowed),
            f"a partial result holds {type(x).__qualname__}: close hands back host arrays and plain values.",
        )


def _assert_close(found: Any, expected: Any, rtol: float, told: str) -> None:
    mine, theirs = _leaves(found), _leaves(expected)
    _require(
        len(mine) == len(theirs), f"{told} differ in kind: {len(mine)} parts and {len(theirs)}."
    )
    for a, b in zip(mine, theirs, strict=True):
        if not isinstance(a, np.ndarray | np.generic | int | float | complex):
            _require(a == b, f"{told} differ: {a!r} and {b!r}.")
            continue
        x, y = np.asarray(a), np.asarray(b)
        _require(x.shape == y.shape, f"{told} differ in shape: {x.shape} and {y.shape}.")
        if y.dtype.kind not in "iufc":
            _require(bool((x == y).all()), f"{told} differ: {a!r} and {b!r}.")
            continue
        finite = np.abs(y[np.isfinite(y)])
        scale = float(finite.max()) if finite.size else 0.0
        with np.errstate(invalid="ignore"):  # Inf less Inf
            gap = np.abs(x - y)
        near = (x == y) | (np.isnan(x) & np.isnan(y)) | (gap <= rtol * scale)
        _require(
            bool(near.all()),
            f"{told} differ by {np.nanmax(gap):.3g} where the largest number is {scale:.3g}; rtol={rtol:g} was allowed.",
        )
