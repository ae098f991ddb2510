r"""Factors in the type of the blocks, and what that rounding adds to the error.

With ``A = U C + R`` the stored factors, multiplied and rounded to the type of the block, are some ``B``; the error is at
most ``||R|| + ||U C - B||``, and the second term is computed. A narrow type that takes the error beyond what was asked
gives way to a wider one, and where none is smaller than the blocks they are kept as they are. Where errors are weighted,
all of these norms are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.mathematics import FactoredCluster, Metric, Mode
from streamsvd.collections.weights import ALIKE, Metrics
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.store.collections import Member
from streamsvd.store.collections.archive import WrittenArray
from streamsvd.typing import Matrix, Real

Array = npt.NDArray[Any]
SLAB = 1 << 18
"""Entries that are multiplied at once."""
BRAIN = "bfloat16"


@dataclass(frozen=True, slots=True, eq=False)
class StoredFactors:
    """Factors of a block as they are stored."""

    basis: Array
    coefficients: Array
    exponent: int

    def product(self) -> Matrix:
        """The principal part of the block."""
        with np.errstate(over="ignore"):
            return np.asarray(
                np.ldexp(
                    self.basis.astype(np.float64) @ self.coefficients.astype(np.float64),
                    self.exponent,
                )
            )


@dataclass(frozen=True, slots=True, eq=False)
class EncodedResidual:
    """What factors leave of a block, as it is stored.

    Attributes
    ----------
    code_bytes
        Whole numbers as bytes, or where a task has written them; none where factors meet the error by themselves.
    steps
        What they are multiplied by, of every column or of all.
    error
        Relative error of the block, certified.
    """

    code_bytes: npt.NDArray[np.uint8] | WrittenArray
    steps: Real
    error: float

    @property
    def nbytes(self) -> int:
        """Bytes stored."""
        return int(self.code_bytes.nbytes + self.steps.nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedCluster:
    """A cluster as it is stored.

    Attributes
    ----------
    names
        Of its blocks, ascending.
    basis, coefficients, exponents
        A block is ``basis @ coefficients[i] * 2**exponents[i]``, rounded to its type; nothing if ``raw``.
    error_lower, error_upper, block_errors
        Certified, relative.
    norms
        Frobenius norm of each block.
    raw
        Whether the blocks are kept as they are.
    codes
        Residual of each block; nothing where there are none.
    """

    names: tuple[str, ...]
    basis: Array
    coefficients: tuple[Array, ...]
    exponents: tuple[int, ...]
    error_lower: float
    error_upper: float
    block_errors: tuple[float, ...]
    norms: tuple[float, ...]
    raw: bool
    codes: tuple[EncodedResidual, ...] = ()

    @property
    def rank(self) -> int:
        """Columns of the basis."""
        return int(self.basis.shape[1])

    def nbytes(self, members: Mapping[str, Member]) -> int:
        """Bytes stored."""
        if self.raw:
            return sum(members[name].nbytes for name in self.names)
        factors = self.basis.nbytes + sum(c.nbytes for c in self.coefficients)
        return int(factors + sum(piece.nbytes for piece in self.codes))

    def coefficients_of(self, name: str) -> Matrix:
        """Those of one block, not scaled."""
        i = self.names.index(name)
        return np.ldexp(self.coefficients[i].astype(np.float64), self.exponents[i])


def margin(dtypes: Sequence[np.dtype[Any]], error: float) -> float:
    """Part of the error that is left to the rounding of factors."""
    least = max((8 * float(np.finfo(d).eps) / 2 for d in dtypes if d.kind == "f"), default=0.0)
    return min(error / 16, max(least, 64 * UNIT_ROUNDOFF))


def slack(rows: int, columns: int) -> float:
    """Relative error that rounding of the sketch and of products may have hidden."""
    return 128 * UNIT_ROUNDOFF * float(np.sqrt(rows + columns))


def encode_cluster(
    found: FactoredCluster,
    members: Mapping[str, Member],
    *,
    error: float,
    spare: float,
    mode: Mode,
    metrics: Metrics = ALIKE,
) -> EncodedCluster:
    """A cluster in the narrowest type that meets the error, or its blocks as they are.

    Parameters
    ----------
    found
        As clustered, for an error less by ``spare``.
    members
        By name.
    error, spare, mode
        What was asked, and the part left to rounding.
    metrics
        How errors are measured.
    """
    of = [members[key] for key in found.keys]
    whole = sum(m.nbytes for m in of)
    if found.raw or not found.within_error:
        return as_they_are(found, of[0].shape[0])
    for dtype in ladder(of):
        shared = _in_type(found, of, dtype, mode, metrics)
        if shared.rank and shared.nbytes(members) >= whole:
            break
        if _holds(shared, found, of, error, spare, mode):
            return shared
    return as_they_are(found, of[0].shape[0])


def as_they_are(found: FactoredCluster, rows: int) -> EncodedCluster:
    """The blocks of a cluster without factors."""
    return whole_blocks(found.keys, _norms(found), rows)


def whole_blocks(names: Sequence[str], norms: Sequence[float], rows: int) -> EncodedCluster:
    """Blocks that are kept as they are."""
    basis, zeros = np.zeros((rows, 0), np.float32), (0.0,) * len(names)
    return EncodedCluster(tuple(names), basis, (), (), 0.0, 0.0, zeros, tuple(norms), True)


def without_basis(names: Sequence[str], members: Mapping[str, Member], rows: int) -> EncodedCluster:
    """Blocks of which no factors are stored: zeros, or what has a residual."""
    basis, zeros = np.zeros((rows, 0), np.float32), (0.0,) * len(names)
    empty = tuple(np.zeros((0, members[name].shape[1]), np.float32) for name in names)
    return EncodedCluster(
        tuple(names), basis, empty, (0,) * len(names), 0.0, 0.0, zeros, zeros, False
    )


def split_off_zeros(shared: EncodedCluster, members: Mapping[str, Member]) -> list[EncodedCluster]:
    """Blocks of zeros among those that are kept as they are get a cluster of their own, which stores nothing of them."""
    zero = [name for name, norm in zip(shared.names, shared.norms, strict=True) if norm == 0]
    if not shared.raw or not zero:
        return [shared]
    rows = shared.basis.shape[0]
    rest = [(n, x) for n, x in zip(shared.names, shared.norms, strict=True) if x > 0]
    nothing = without_basis(zero, members, rows)
    if not rest:
        return [nothing]
    return [whole_blocks([n for n, _ in rest], [x for _, x in rest], rows), nothing]


def _norms(found: FactoredCluster) -> tuple[float, ...]:
    with np.errstate(
        over="ignore"
    ):  # of entries near the end of float64: the largest number stands for it
        norms = np.ldexp(np.sqrt(found.energies), found.exponent)
    ends = np.finfo(np.float64)  # nothing that is not zero counts as zero
    least = np.where(found.energies > 0, ends.smallest_subnormal, 0.0)
    return tuple(float(x) for x in np.clip(norms, least, ends.max))


def _holds(
    shared: EncodedCluster,
    found: FactoredCluster,
    of: Sequence[Member],
    error: float,
    spare: float,
    mode: Mode,
) -> bool:
    floor = 4 * slack(of[0].shape[0], max(m.shape[1] for m in of))
    floor *= float(found.strains.max(initial=1.0))
    if mode == "global":
        return shared.error_upper - found.error_upper <= max(spare, floor)
    worst = max(shared.block_errors) if mode == "block" else shared.error_upper
    return worst <= max(error, floor)


def ladder(of: Sequence[Member]) -> list[np.dtype[Any]]:
    """Types of factors that may do, the narrowest first."""
    types: list[np.dtype[Any]] = [np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)]
    return types[max(_narrowest(m) for m in of) :]


def _narrowest(member: Member) -> int:
    dtype = member.dtype if member.packing is None else member.packing.stored_dtype
    if member.kind == BRAIN or dtype == np.float16:
        return 0
    if dtype == np.float32 or (dtype.kind in "biu" and dtype.itemsize <= 2):
        return 1
    return 2


def _in_type(
    found: FactoredCluster, of: Sequence[Member], dtype: np.dtype[Any], mode: Mode, metrics: Metrics
) -> EncodedCluster:
    """The factors in one type, and their certified errors."""
    left = found.basis if metrics.rows is None else found.basis / metrics.rows[:, None]
    largest = float(np.finfo(dtype).max)  # what is cut off is in the error that is measured
    basis = np.clip(left, -largest, largest).astype(dtype)
    coefficients, exponents, added = [], [], []
    for member, C in zip(of, found.coefficients, strict=True):
        stored, exponent = narrow_coefficients(C, dtype)
        coefficients.append(stored)
        exponents.append(exponent + found.exponent)
        metric = metrics.of(member.name)
        added.append(
            deviation(left, C, basis, stored, exponents[-1], found.exponent, member, metric)
        )
    norms = np.sqrt(found.energies)
    delta = np.array(added)
    relative = np.divide(delta, norms, out=np.zeros_like(delta), where=norms > 0)
    hidden = slack(of[0].shape[0], max(m.shape[1] for m in of)) * found.strains * (norms > 0)
    errors = found.block_errors + relative + hidden
    if mode == "block":
        full = max(int(np.count_nonzero(norms)), 1)
        more = float(np.sqrt(np.sum(relative**2) / full))
    else:
        total = float(np.linalg.norm(norms))
        more = float(np.linalg.norm(delta)) / total if total else 0.0
    strained = float(hidden.max(initial=0.0)) if found.strains.max(initial=1.0) > 1 else 0.0
    return EncodedCluster(
        found.keys,
        basis,
        tuple(coefficients),
        tuple(exponents),
        max(0.0, found.error_lower - strained),
        found.error_upper + more + float(hidden.max(initial=0.0)),
        tuple(float(e) for e in errors),
        _norms(found),
        False,
    )


def narrow_coefficients(C: Matrix, dtype: np.dtype[Any]) -> tuple[Array, int]:
    """Coefficients of size at most 1 in a type, and the exponent of the power of two taken out."""
    exponent = int(np.frexp(np.abs(C).max(initial=0.0))[1])
    return np.ldexp(C, -exponent).astype(dtype), exponent


def deviation(
    left: Matrix,
    C: Matrix,
    basis: Array,
    stored: Array,
    exponent: int,
    unit: int,
    member: Member,
    metric: Metric,
) -> float:
    """``||left C - B||`` times ``2**-unit``, B the block as it will be read, in the norm of its error."""
    total, step = 0.0, max(1, SLAB // max(C.shape[1], 1))
    for at in range(0, basis.shape[0], step):
        B = decode_block(basis[at : at + step], stored, exponent, member)
        D = np.ldexp(np.asarray(B, dtype=np.float64), -unit)
        total += float(np.sum(metric.of(left[at : at + step] @ C - D, at) ** 2))
    return float(np.sqrt(total))


def decode_block(basis: Array, coefficients: Array, exponent: int, member: Member) -> Array:
    """Rows of a block from factors, in its type: integers are the nearest, and within the range of the type."""
    with np.errstate(over="ignore"):
        return cast_block(StoredFactors(basis, coefficients, exponent).product(), member)


def cast_block(A: Matrix, member: Member) -> Array:
    """Rows of a block in its type; of packed values, the nearest that stored ones stand for."""
    dtype = member.dtype
    if member.packing is not None:
        return member.packing.nearest(A)
    if dtype.kind == "b":
        return A >= 0.5
    if dtype.kind in "iu":
        return _whole(np.rint(A), dtype)
    limit = float(min(np.finfo(dtype).max, np.finfo(np.float64).max))
    B = np.clip(A, -limit, limit).astype(dtype)
    return as_brain(B) if member.kind == BRAIN else B


def _whole(A: Matrix, dtype: np.dtype[Any]) -> Array:
    """Whole numbers in an integer type; the ends of 64 bits are no float64."""
    info = np.iinfo(dtype)
    low, high = float(info.min), float(info.max)
    out = np.clip(A, low, np.nextafter(high, 0) if high > 2.0**53 else high).astype(dtype)
    out[high <= A] = info.max
    return out


def as_brain(B: Array) -> Array:
    """The nearest values that have a bfloat16."""
    from streamsvd.store.collections.safetensors import to_bfloat16

    return (to_bfloat16(B).astype(np.uint32) << 16).view(np.float32)
