r"""What one read of a block leaves: its leading directions, and the ledger of the rest.

``A_i = L_i V_i* + T_i`` with ``T_i V_i = 0`` gives ``A_i A_i* = L_i L_i* + T_i T_i*``; the trace and the norm of the last
term are in the ledger, so whatever is concluded from the L of many blocks is certified for the blocks. Clustering sees
nothing but products ``L_a* L_b``: L may be the block's own directions (`sketch`), coordinates from the Gram matrix of all
columns (`from_gram`), or random projections (`sketch_projection`), whose clusters a second read certifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import linalg

from streamsvd.checks.masks import as_array
from streamsvd.collections.criteria import check_error
from streamsvd.collections.mathematics.weights import PLAIN, Metric
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.numerics.ledger import Ledger
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.sketches import gaussian
from streamsvd.typing import Matrix, Real

SHARE = 0.1
"""Part of the error that a sketch may spend."""
LEAST_WEIGHTED = 1e-250
"""Entries of a weighted block of size 1 all below it are none."""
GRAM_LEAST = 1e-6
"""Errors below it are lost in the squares of a Gram matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockSketch:
    """One block, as far as clustering needs it; everything is of ``A * 2**-exponent``, weighted where the error is.

    Attributes
    ----------
    key
        Name of the block.
    L
        ``(m', k)``, orthogonal columns of descending norm.
    squares
        Their squared norms, ``(k,)``.
    Vh
        ``(k, n)``: ``L @ Vh`` is the block less what the ledger has discarded, with rows weighted but not columns; orthonormal
        rows where nothing is.
    ledger
        Energy, and what was discarded.
    rows, width
        Shape of the block.
    exponent
        Of the power of two that was taken out.
    strain
        How much larger rounding may be for weights, by `Metric.strain`.
    """

    key: str
    L: Matrix
    squares: Real
    Vh: Matrix
    ledger: Ledger
    rows: int
    width: int
    exponent: int
    strain: float = 1.0

    @property
    def energy(self) -> float:
        """``||A * 2**-exponent||_F**2``."""
        return self.ledger.energy

    @property
    def tail(self) -> float:
        """Squared Frobenius norm of what was discarded."""
        return self.ledger.discarded

    @property
    def tail_norm(self) -> float:
        """Its squared spectral norm."""
        return self.ledger.discarded_norm


def sketch(
    key: str, block: Matrix, *, error: float, share: float = SHARE, metric: Metric = PLAIN
) -> BlockSketch:
    """The leading directions of a block, all but ``(share * error)**2`` of its energy.

    Parameters
    ----------
    key
        Name of the block.
    block
        ``(m, n)``, any real numbers; wide and empty ones too.
    error, share
        Relative error of the clustering to come, and the part of it spent here; 0 keeps everything.
    metric
        How errors of the block are measured.

    Raises
    ------
    NonFiniteError
        At the first NaN or Inf.
    ShapeError, SpecError
        If it is no matrix of real numbers, or its weights leave nothing of it.

    Notes
    -----
    Cost: ``2 m n min(m, n)`` flops and two copies of the block in float64; with inputs ``2 m n q`` more.
    """
    check_error(error, allow_trivial=True)
    A, exponent = scale_block(key, block, metric)
    allowed = min(share * error, 1.0)
    if metric.plain or not A.any():
        return _cut(key, A, A.shape[0], exponent, allowed)
    B, lift = apply_weights(key, A, metric)
    found = _cut(key, B, A.shape[0], exponent + lift, allowed)
    inner = found.L.T @ metric.left(np.ldexp(A, -lift))
    return replace(
        found,
        Vh=inner / found.squares[:, None],
        width=A.shape[1],
        strain=metric.strain(np.ldexp(A, -lift), float(np.sqrt(found.energy))),
    )


def apply_weights(key: str, A: Matrix, metric: Metric) -> tuple[Matrix, int]:
    """``D A S`` of size at most 1, and the exponent of the power of two taken out.

    Raises
    ------
    SpecError
        If nothing is left of it.
    """
    B = metric.of(A)
    largest = float(np.abs(B).max(initial=0.0))
    if not largest > LEAST_WEIGHTED:
        raise SpecError(
            f"weights leave nothing of block {key!r}, which is not zero: any error of it would count as none. "
            "Give it weights, or inputs, that are not all zero, or leave it out."
        )
    lift = int(np.frexp(largest)[1])
    return np.ldexp(B, -lift), lift


def scale_block(key: str, block: Matrix, metric: Metric) -> tuple[Matrix, int]:
    """The block as float64 numbers of size at most 1, and the exponent of the power of two taken out.

    Columns of weight 0 are 0.

    Raises
    ------
    NonFiniteError
        At the first NaN or Inf.
    ShapeError, SpecError
        If it is no matrix of real numbers.
    """
    A = as_array(block)
    if A.ndim != 2:
        raise ShapeError(
            f"block {key!r} has {A.ndim} dimensions, a matrix has 2. Reshape it to (rows, columns)."
        )
    if A.dtype.kind not in "biuf":
        raise SpecError(
            f"block {key!r} holds {A.dtype}, real numbers are needed. "
            "Convert it, or put real and imaginary parts side by side."
        )
    A = metric.zero_ignored(A.astype(np.float64 if A.dtype.itemsize <= 8 else A.dtype))
    if not np.isfinite(A).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(A))[0])
        value = "NaN" if np.isnan(A[row, column]) else "Inf"
        remedy = "Replace such values, or leave the block out."
        raise NonFiniteError(value, row, column, f"block {key!r}", remedy)
    largest = A.dtype.type(max(A.max(initial=0.0), -A.min(initial=0.0)))
    exponent = int(np.frexp(largest)[1])
    return np.ldexp(A, -exponent).astype(np.float64, copy=False), exponent


def _cut(key: str, A: Matrix, rows: int, exponent: int, allowed: float) -> BlockSketch:
    """The sketch of a matrix that has been scaled, less ``allowed**2`` of its energy."""
    if A.size == 0:
        empty = np.zeros((A.shape[0], 0)), np.zeros(0), np.zeros((0, A.shape[1]))
        return BlockSketch(key, *empty, Ledger(), rows, A.shape[1], exponent)
    U, s, Vh = thin_svd(A)
    squares = s * s
    energy = float(np.sum(squares[::-1]))
    keep = count_kept(squares, allowed * allowed * energy)
    ledger = Ledger(energy=energy, height=A.shape[0] + A.shape[1])
    ledger = ledger.after_truncation(squares[keep:], rounding=True)
    return BlockSketch(
        key, U[:, :keep] * s[:keep], squares[:keep], Vh[:keep], ledger, rows, A.shape[1], exponent
    )


def thin_svd(A: Matrix) -> tuple[Matrix, Real, Matrix]:
    """``U s Vh`` by QR of the longer side; the same for a matrix and its transpose."""
    if A.shape[0] < A.shape[1]:
        U, s, Vh = thin_svd(A.T)
        return Vh.T, s, U.T
    if A.shape[0] <= 2 * A.shape[1]:
        U, s, Vh = _svd(A)
        return U, s, Vh
    Q, R = linalg.qr(A, mode="economic", check_finite=False)
    U, s, Vh = _svd(R)
    return Q @ U, s, Vh


def _svd(A: Matrix) -> tuple[Matrix, Real, Matrix]:
    try:
        U, s, Vh = linalg.svd(A, full_matrices=False, check_finite=False)
    except linalg.LinAlgError:  # divide and conquer fails on rare matrices that iteration solves
        U, s, Vh = linalg.svd(A, full_matrices=False, check_finite=False, lapack_driver="gesvd")
    return U, s, Vh


def count_kept(squares: Real, budget: float, *, least: int = 0, spent: float = 0.0) -> int:
    """How many of descending squares stay when the others may sum to ``budget - spent``; rounding never stays."""
    if squares.size == 0:
        return 0
    floor = 64 * UNIT_ROUNDOFF**2 * squares.size * float(squares[0])
    real = int(np.count_nonzero(squares > floor))
    tails = np.cumsum(squares[::-1])[::-1]  # tails[i]: dropping i and all after it
    needed = int(np.count_nonzero(spent + tails > budget))
    return min(max(needed, least), real)


def gram(K: Matrix, slab: Matrix) -> Matrix:
    """The Gram matrix of all columns after a further slab of rows ``(p, n)`` of all blocks side by side."""
    slab = np.asarray(slab, dtype=np.float64)
    return np.asarray(K + slab.T @ slab)


def from_gram(
    K: Matrix,
    keys: Sequence[str],
    widths: Sequence[int],
    rows: int,
    *,
    error: float,
    share: float = SHARE,
    exponent: int = 0,
) -> tuple[BlockSketch, ...]:
    """Sketches of blocks known by the Gram matrix of all their columns: for blocks of very many rows.

    Parameters
    ----------
    K
        ``(n, n)``, from `gram` over all slabs of rows.
    keys, widths
        Names, and columns, of the blocks in the order of the columns.
    rows
        Rows of the blocks, for the cost of storage.
    error, share
        As in `sketch`.
    exponent
        Of the power of two by which slabs were divided.

    Raises
    ------
    SpecError
        If the error is below what squares resolve, or a block is not finite.
    ShapeError
        If the widths do not fill the matrix.

    Notes
    -----
    ``L`` holds columns of ``Lambda^(1/2) W*`` with ``K = W Lambda W*``, each block scaled to norm 1 before. What
    the eigenvalues lose is the ledger's deficit. Cost: ``9 n**3`` flops, ``3 n**2`` numbers.
    """
    check_error(error, allow_trivial=True)
    if error < GRAM_LEAST:
        raise SpecError(
            f"error={error:g} is lost in squares, a Gram matrix resolves {GRAM_LEAST:g}. "
            "Sketch the blocks themselves."
        )
    if K.shape != (sum(widths), sum(widths)) or len(keys) != len(widths):
        raise ShapeError(
            f"{len(keys)} blocks of {sum(widths)} columns in all do not fill a Gram matrix of shape {K.shape}. "
            "Pass the width of every block."
        )
    edges = np.concatenate([[0], np.cumsum(widths)]).astype(int)
    squares = [float(np.diag(K)[a:b].sum()) for a, b in pairwise(edges)]
    for key, square in zip(keys, squares, strict=True):
        if not np.isfinite(square):
            raise SpecError(
                f"the squares of block {key!r} sum to {square}: NaN or Inf, or beyond float64. "
                "Replace such values, or divide all slabs by a power of two and pass exponent=."
            )
    L, blur = _coordinates(K, np.repeat(np.sqrt(np.maximum(squares, 0.0)), widths))
    found = (
        _cut(key, L[:, a:b], rows, exponent, min(share * error, 1.0))
        for key, (a, b) in zip(keys, pairwise(edges), strict=True)
    )
    return tuple(_with_deficit(s, blur * square) for s, square in zip(found, squares, strict=True))


def _coordinates(K: Matrix, norms: Real) -> tuple[Matrix, float]:
    """Columns with the products K, and what eigenvalues lose of them where every block is scaled to norm 1."""
    if K.size == 0:
        return np.zeros((0, 0)), 0.0
    unit = np.where(norms > 0, norms, 1.0)
    values, W = linalg.eigh(K / unit[:, None] / unit, driver="evd", check_finite=False)
    top = max(float(values[-1]), 0.0)
    real = values > 4 * UNIT_ROUNDOFF * top * values.size
    L = np.sqrt(values[real])[:, None] * W[:, real].T
    # Zero norms leave nothing of blocks of zeros, of which eigenvectors hold rounding.
    return L * norms, 16 * UNIT_ROUNDOFF * values.size * max(top, 1.0)


def _with_deficit(found: BlockSketch, deficit: float) -> BlockSketch:
    return replace(found, ledger=replace(found.ledger, deficit=deficit))


def projection(rows: int, *, columns: int = 96, seed: int = 0) -> Matrix:
    """Gaussian ``(columns, rows)`` that keeps norms on average; the same for all blocks of a collection."""
    omega = gaussian(rows, columns, seed=seed, purpose="block", complex_=False)
    return np.asarray(omega.T / np.sqrt(columns))


def sketch_projection(
    key: str,
    block: Matrix,
    omega: Matrix,
    *,
    error: float,
    share: float = SHARE,
    metric: Metric = PLAIN,
) -> BlockSketch:
    """The sketch of ``omega @ block``: enough to propose clusters, not to certify them.

    Raises
    ------
    NonFiniteError
        At the first NaN or Inf.
    ShapeError, SpecError
        If it is no matrix of real numbers with as many rows as ``omega`` has columns.
    """
    check_error(error, allow_trivial=True)
    A, exponent = scale_block(key, block, metric)
    if A.shape[0] != omega.shape[1]:
        raise ShapeError(
            f"block {key!r} has {A.shape[0]} rows, the projection was made for {omega.shape[1]}. "
            "Blocks of a collection have equal rows."
        )
    if not metric.plain and A.any():
        A, lift = apply_weights(key, A, metric)
        exponent += lift
    found = _cut(key, omega @ A, A.shape[0], exponent, min(share * error, 1.0))
    return replace(found, width=np.shape(block)[1])
