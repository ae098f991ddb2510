"""What is chosen on a sample of the rows where it was not given: scale, centre and length of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from streamsvd.checks.numbers import check_numbers
from streamsvd.kernels.mathematics import Kernel, typical_length
from streamsvd.kernels.mathematics.kernel import LENGTH_KERNELS
from streamsvd.kernels.mathematics.ridge import best_length
from streamsvd.protocols import Source
from streamsvd.typing import Matrix

SAMPLE_ROWS, PARTS = 2048, 16
"""Rows looked at, and the places they are from."""
JUDGED_ROWS = 1024
"""Rows of the sample on which lengths are tried."""


def given_kernel(
    name: str | Callable[[Matrix, Matrix], Matrix],
    length: float | None,
    degree: int,
    offset: float,
    smoothness: float,
) -> Kernel:
    """The kernel that was asked for, as far as it was.

    Raises
    ------
    SpecError
        If a parameter is out of range.
    """
    check_numbers(length=length, degree=degree, offset=offset, smoothness=smoothness)
    return Kernel(name, 1.0 if length is None else length, degree, offset, smoothness)  # type: ignore[arg-type]


def sample_places(source: Source) -> tuple[int, list[int]]:
    """Rows of each part of the sample, and where they begin."""
    m = source.shape[0]
    height = min(m, SAMPLE_ROWS // PARTS)
    parts = min(PARTS, -(-m // height))
    return height, [int(a) for a in np.linspace(0, m - height, parts)]


def read_sample(source: Source) -> tuple[Matrix, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Rows from places spread over the matrix in float64, and their numbers; those with NaN or Inf left out."""
    n = source.shape[1]
    height, places = sample_places(source)
    rows, numbers = [], []
    for start in places:
        part = np.empty((height, n), dtype=source.dtype)
        source.read(slice(start, start + height), slice(0, n), part)
        rows.append(part.astype(np.float64))
        numbers.append(np.arange(start, start + height, dtype=np.int64))
    joined, index = np.concatenate(rows), np.concatenate(numbers)
    good = np.isfinite(joined).all(axis=1)
    return joined[good], index[good]


def settle_kernel(
    kernel: Kernel,
    sample: Matrix,
    *,
    length: float | None,
    scale: bool,
    targets: Matrix | None = None,
    trains: npt.NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> Kernel:
    """The kernel with its scale and centre, and a length where none was given.

    Parameters
    ----------
    kernel
        As asked for.
    sample
        Rows.
    length
        As given; left out, the median distance of rows, or with targets a multiple of it that predicts better.
    scale
        Whether columns are divided by their standard deviations.
    targets, trains
        Of the rows of the sample: targets, and which of them may be looked at.
    seed
        Of the pairs, and of the rows that judge.
    """
    if sample.shape[0] == 0:
        return kernel
    if scale:
        deviation = sample.std(axis=0)
        divisor = np.where(deviation > 0, deviation, 1.0)
        kernel, sample = replace(kernel, scale=divisor), sample / divisor
    name = kernel.name if isinstance(kernel.name, str) else ""
    kernel = replace(kernel, centre=sample.mean(axis=0))
    if length is None and name in LENGTH_KERNELS:
        kernel = replace(kernel, length=typical_length(sample, name, seed=seed))
        if targets is not None:
            order = np.random.default_rng(seed).permutation(sample.shape[0])
            order = order[:JUDGED_ROWS] if trains is None else order[trains[order]][:JUDGED_ROWS]
            plain = replace(kernel, scale=None)  # the sample is divided already
            best = best_length(plain, sample[order], targets[order])
            kernel = replace(kernel, length=best)
    return kernel
