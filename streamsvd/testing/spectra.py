"""Matrices of known singular values, of any size, made a run of rows at a time.

``A = U diag(s) Vh + 1 c*`` with orthonormal factors that are never stored:

- ``U[i, j] = sqrt(2 / m) cos(pi (2 p(i) + 1) f(j) / (2 m))``: columns of the cosine transform of
  order ``m`` at distinct scattered frequencies ``f``, its rows shuffled by a bijection ``p``.
  A column of frequency ``f > 0`` sums to zero, so ``c`` holds the column means of ``A``.
  Complex matrices have ``U[i, j] = exp(2 pi i p(i) f(j) / m) / sqrt(m)``.
- ``Vh = C D C D'``: cosine transforms ``C`` of order ``n``, random signs (or phases) ``D``, ``D'``.

The spectrum is full, whatever the shape, and a row costs two fast transforms. In exact arithmetic
the singular values are ``s``. Rounding to float32 moves the leading 50 by at most (relative, measured)
3e-7, in ``graded4`` 1e-6, in ``graded5`` 1e-5; ``offset`` loses what entries of size 1e6 cannot hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from streamsvd.errors import ShapeError, SpecError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.uint64]

SPECTRA = (
    "pow1", "slow", "step", "drift", "spikes", "geometric", "graded4", "graded5", "graded12", "offset",
    "log", "flat", "cliff", "floor", "before", "at", "across", "bulk3", "bulk12",
)  # fmt: skip
DTYPES = ("float32", "float64", "complex64", "complex128")

_LEADING = 50  # values before the gap of "step", over which "graded" falls
_SPIKES = 10
_RANK = 10  # after which "floor" falls no further
_PLATEAU, _BEHIND = 30, {"flat": 1.0, "cliff": 1e-3}
_REPEAT_RANGES = {"before": (4, 6), "at": (10, 11), "across": (6, 15)}
_NOISE, _ASPECT = 4000, 0.25  # columns, and columns over rows, of the noise in "bulk"
_BLOCK_ENTRIES = 2**17  # made at once: the temporaries stay in the cache


def spectrum(name: str, r: int) -> Floats:
    """Singular values of a named spectrum, descending.

    Parameters
    ----------
    name
        ``pow1``, ``drift``, ``offset``: ``1/i``; ``slow``: ``i^-0.5``; ``step``: 50 values in 2..1,
        then a tail from 0.5; ``spikes``: 10 values in 3..1.5, then 1; ``geometric``:
        ``0.9^(i-1)``; ``graded4``, ``graded5``, ``graded12``: geometric with ``s[49] / s[0]`` of 1e-4, 1e-5
        and 1e-12; ``log``: ``1 / log(i + 1)``; ``flat``: all 1; ``cliff``: 30 values
        of 1, then 1e-3; ``floor``: 10 values in 3..1, then 0.9; ``before``, ``at``, ``across``: ``1/i`` but
        that the values 4 to 6, 10 and 11, 6 to 15 are equal; ``bulk3``, ``bulk12``: so many values in 4..2
        over noise of 16 000 rows and 4 000 columns, 1.5..0.5 (the quantiles of the law of Marchenko and
        Pastur), then 0.5.
    r
        How many.

    Returns
    -------
    s
        Shape ``(r,)``.

    Raises
    ------
    SpecError
        If no spectrum has that name.

    Examples
    --------
    >>> spectrum("pow1", 4)
    array([1.        , 0.5       , 0.33333333, 0.25      ])
    """
    i = np.arange(1.0, r + 1.0)
    match name:
        case "pow1" | "drift" | "offset":
            s = 1 / i
        case "slow":
            s = i**-0.5
        case "step":
            s = np.where(i <= _LEADING, 2 - (i - 1) / (_LEADING - 1), 0.5 * (_LEADING / i) ** 0.5)
        case "spikes":
            s = np.where(i <= _SPIKES, 3 - 1.5 * (i - 1) / (_SPIKES - 1), 1.0)
        case "geometric":
            s = 0.9 ** (i - 1)
        case "graded4" | "graded5" | "graded12":
            digits = int(name.removeprefix("graded")) * (i - 1) / (_LEADING - 1)
            s = 10.0 ** -np.minimum(digits, 300)
        case "log":
            s = 1 / np.log(i + 1)
        case "flat" | "cliff":
            s = np.where(i <= _PLATEAU, 1.0, _BEHIND[name])
        case "floor":
            s = np.where(i <= _RANK, 3 - 2 * (i - 1) / (_RANK - 1), 0.9)
        case "before" | "at" | "across":
            first, last = _REPEAT_RANGES[name]
            s = 1 / np.where((first <= i) & (i <= last), first, i)
        case "bulk3" | "bulk12":
            s = _over_noise(int(name.removeprefix("bulk")), r)
        case _:
            raise SpecError(f"no spectrum is called {name!r}. Use one of {', '.join(SPECTRA)}.")
    return np.asarray(s)


@dataclass(frozen=True, slots=True)
class KnownMatrix:
    """A matrix given by its singular value decomposition, of which any rows can be made.

    Parameters
    ----------
    spectrum
        One of `SPECTRA`. Two of them are more than their singular values. ``drift`` is not
        shuffled: (real) rows are sorted along the leading component, and the others come in pairs
        whose correlation within a window of rows runs from 1 at the first rows to -1 at the last.
        ``offset`` has columns of means 0.9e6..1.1e6 and of variance 1 on average.
    n_rows, n_cols
        Shape ``(m, n)``: tall, square or wide.
    dtype
        One of `DTYPES`.
    seed
        Decides signs, frequencies and the order of the rows.

    Raises
    ------
    ShapeError
        If the matrix has no entries.
    SpecError
        If the spectrum or the dtype is not one of those above.

    Notes
    -----
    Cost: two transforms of order ``n`` a row (several times more where ``n`` is a large prime), 6 ns
    an entry in float32 on one core at ``n = 2000``. Memory beside the result: the larger of 4 MB and 3 rows.
    An entry depends on its place and the seed, not on the rows made with it; another kind of
    processor may differ in the last place. Safe to call from several threads.

    Examples
    --------
    >>> A = KnownMatrix("slow", 40, 7, dtype="float64")
    >>> bool(np.allclose(np.linalg.svd(A.rows(0, 40), compute_uv=False), A.s))
    True
    """

    spectrum: str
    n_rows: int
    n_cols: int
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ShapeError(
                f"{self.n_rows} x {self.n_cols} has no entries. Ask for at least 1 x 1."
            )
        if self.dtype not in DTYPES:
            raise SpecError(f"dtype={self.dtype!r} is not made here. Use {', '.join(DTYPES)}.")
        spectrum(self.spectrum, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.n_rows, self.n_cols

    @property
    def nbytes(self) -> int:
        """Bytes of the whole matrix."""
        return self.n_rows * self.n_cols * np.dtype(self.dtype).itemsize

    @property
    def s(self) -> Floats:
        """All ``min(m, n)`` singular values, descending; of ``A - 1 c*`` for ``offset``."""
        s = spectrum(self.spectrum, min(self.shape))
        if self.spectrum == "offset":
            s *= np.sqrt(self.n_rows * self.n_cols / (s @ s))
        return s

    @property
    def c(self) -> Floats:
        """Offset of every column, 0 but for ``offset``; the column means of ``A`` where ``m > n``."""
        if self.spectrum != "offset":
            return np.zeros(self.n_cols)
        return 1e6 * (0.9 + 0.2 * _rng(self.seed, "offset").random(self.n_cols))

    def rows(self, start: int, stop: int) -> Array:
        """Rows ``start:stop`` of ``A``, clipped to the matrix as a slice is."""
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        out = np.empty((max(stop - start, 0), self.n_cols), self.dtype)
        frequencies, phases, c = self._frequencies(), self._phases().astype(self.dtype), self.c
        weights = (self.s * self._norms(frequencies)).astype(out.real.dtype)
        weights[weights < np.finfo(weights.dtype).tiny] = 0  # arithmetic on denormals is slow
        steps, shuffled = (
            _steps(frequencies, self.n_rows),
            self._row_permutation(start, start + len(out)),
        )
        height = max(1, _BLOCK_ENTRIES // self.n_cols)
        for a in range(0, len(out), height):
            block = out[a : a + height]
            Us = _waves(shuffled[a : a + height], steps, out.dtype)
            Us *= weights
            block[:] = _times_Vh(Us, phases)
            if self.spectrum == "offset":
                np.add(block, c, out=block, casting="same_kind")  # in float64, rounded once
        return out

    def U(self, start: int, stop: int, k: int) -> Array:
        """Rows ``start:stop`` of the ``k`` leading left singular vectors, in double precision."""
        frequencies = self._frequencies()[:k]
        steps, shuffled = _steps(frequencies, self.n_rows), self._row_permutation(start, stop)
        U = _waves(shuffled, steps, np.result_type(self.dtype, np.float64))
        return np.asarray(U * self._norms(frequencies))

    def Vh(self, k: int) -> Array:
        """The ``k`` leading right singular vectors, ``(k, n)``, in double precision."""
        return _times_Vh(np.eye(k, min(self.shape)), self._phases())

    @property
    def _is_complex(self) -> bool:
        return np.dtype(self.dtype).kind == "c"

    def _norms(self, frequencies: Integers) -> Floats:
        """What makes the columns of `_waves` unit vectors."""
        squares = np.where(frequencies == 0, 1.0, 1.0 if self._is_complex else 2.0)
        return np.asarray(np.sqrt(squares / self.n_rows))

    def _row_permutation(self, start: int, stop: int) -> Integers:
        """``p(i)`` of a run of rows."""
        i = np.arange(start, stop, dtype=np.uint64)
        return i if self.spectrum == "drift" else _scatter(i, self.n_rows, self.seed, "rows")

    def _frequencies(self) -> Integers:
        """``f(j)``, distinct in ``[0, m)``, one per singular value; 0 only where all are taken."""
        m, r = self.n_rows, min(self.shape)
        width = 2 if self.spectrum == "drift" else 1  # drift: 1, then pairs (2 q, 2 q + 1)
        free = (m - width) // width
        some = np.arange(max(0, min(free, r)), dtype=np.uint64)
        first = width * (1 + _scatter(some, free, self.seed, "columns"))
        pairs = np.stack([first + np.uint64(w) for w in range(width)], axis=1).ravel()
        one, left = np.arange(1, min(m, width)), np.arange(max(1, width * (1 + free)), m)
        return np.concatenate([one, pairs, left, [0]])[:r].astype(np.uint64)

    def _phases(self) -> Array:
        """Diagonals of ``D`` and ``D'``: signs, or points of the unit circle."""
        turns = _rng(self.seed, "phases").random((2, self.n_cols))
        if self._is_complex:
            return np.asarray(np.exp(2j * np.pi * turns))
        return np.where(turns < 0.5, -1.0, 1.0)


def _over_noise(spikes: int, r: int) -> Floats:
    """``spikes`` values in 4..2 over the quantiles of the law of Marchenko and Pastur, then over its lower end.

    With ``x = 1 + c + 2 sqrt(c) cos t`` for an aspect of ``c``, the law is ``2 sin(t)^2 / (pi x) dt`` in 0..pi.
    """
    t = np.linspace(0, np.pi, 2**14 + 1)
    x = 1 + _ASPECT + 2 * np.sqrt(_ASPECT) * np.cos(t)
    density = np.sin(t) ** 2 / x
    shares = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    levels = np.minimum((np.arange(max(r - spikes, 0)) + 0.5) / _NOISE, 1)
    noise = np.sqrt(np.interp(levels, shares / shares[-1], x))
    return np.concatenate([np.linspace(4, 2, spikes), noise])[:r]


def _steps(frequencies: Integers, m: int) -> Integers:
    """``f / (4 m)`` of a turn, where a turn is 2^64: products with integers reduce themselves."""
    return np.array([(f << 62) // m for f in frequencies.tolist()], dtype=np.uint64)


def _waves(i: Integers, steps: Integers, dtype: np.dtype[Any]) -> Array:
    """``cos(pi (2 i + 1) f / (2 m))``, or ``exp(2 pi sqrt(-1) i f / m)`` for complex types."""
    if dtype.kind == "c":
        angle = _angles(4 * i, steps, dtype)
        waves = np.empty(angle.shape, dtype)
        np.cos(angle, out=waves.real)
        np.sin(angle, out=waves.imag)
        return waves
    angle = _angles(2 * i + 1, steps, dtype)
    return np.asarray(np.cos(angle, out=angle))


def _angles(i: Integers, steps: Integers, dtype: np.dtype[Any]) -> Array:
    """Angles in ``[-pi, pi)``; the products are exact to ``1e-19 i`` turns."""
    turns = np.multiply.outer(i, steps)
    real = np.empty(0, dtype).real.dtype
    angle = turns.view(np.int64).astype(real)
    angle *= real.type(2 * np.pi / 2**64)
    return angle


def _times_Vh(X: Array, phases: Array) -> Array:
    """``X C D C D'``, where ``X`` may lack trailing columns of zeros."""
    inner, outer = phases
    Y = fft.dct(X, n=len(inner), norm="ortho") * inner
    Y = fft.dct(Y, norm="ortho", overwrite_x=True)
    Y *= outer
    return np.asarray(Y)


def _scatter(i: Integers, n: int, seed: int, what: str) -> Integers:
    """A bijection of ``[0, n)`` that looks random, evaluated at ``i`` alone.

    Four rounds of a Feistel network over the next even number of bits (Luby, Rackoff 1988), walked
    along its cycle until it is back below ``n``: no table of ``n`` entries is needed.
    """
    half = np.uint64(max(1, (max(1, n - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = _rng(seed, what).integers(0, 2**63, 4, dtype=np.uint64)
    out, walking = i.copy(), np.ones(len(i), bool)
    while walking.any():
        left, right = out[walking] >> half, out[walking] & mask
        for key in keys:
            left, right = right, left ^ (_hash(right + key) & mask)
        out[walking] = left << half | right
        walking = out >= n
    return out


def _hash(x: Integers) -> Integers:
    """Every bit of the input reaches the low bits of the output (the mixer of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _rng(seed: int, what: str) -> np.random.Generator:
    """Independent stream of random numbers for one use."""
    return np.random.Generator(np.random.Philox(key=[seed, int.from_bytes(what.encode()[:8])]))
