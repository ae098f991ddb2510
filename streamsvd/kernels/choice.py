"""What is chosen where it was not given; on a sample of the rows: scale, centre and length of a kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from streamsvd.checks.numbers import check_numbers
from streamsvd.checks.sizes import check_magnitude, size_of
from streamsvd.kernels.mathematics import DictionaryOptions, Kernel, typical_length
from streamsvd.kernels.mathematics.dictionary import LEAST
from streamsvd.kernels.mathematics.kernel import LENGTH_KERNELS, UNBOUNDED_KERNELS
from streamsvd.kernels.mathematics.ridge import best_length
from streamsvd.kernels.options import KernelOptions
from streamsvd.protocols import Source
from streamsvd.typing import Matrix

Options = TypeVar("Options", bound=KernelOptions)
RATIO = 4
"""Rows of the dictionary for each centre: four of them make greedy centres as good as those of many passes."""
SMALLEST_GAMMA, AUTO_LEAST = 1e-12, 3.0
"""Where no ridge is given: what to begin from, relative to ``k(x, x)``, and the oversampling below which it rises."""
SAMPLE_ROWS, PARTS = 2048, 16
"""Rows looked at, and the places they are from."""
JUDGED_ROWS = 1024
"""Rows of the sample on which lengths are tried."""


def sampling_of(options: KernelOptions) -> DictionaryOptions:
    """How rows are sampled, by the kernel as far as it was given.

    Raises
    ------
    SpecError
        If a parameter is out of range.
    """
    check_numbers(
        length=options.length, degree=options.degree, offset=options.offset, smoothness=options.smoothness
    )  # fmt: skip
    kernel = Kernel(
        options.kernel, 1.0 if options.length is None else options.length, options.degree, options.offset, options.smoothness
    )  # fmt: skip
    budget = RATIO * options.n_centres if options.budget is None else options.budget
    _, gamma = options.resolution
    least = AUTO_LEAST if gamma is None else LEAST
    gamma = SMALLEST_GAMMA if gamma is None else gamma
    return DictionaryOptions(
        kernel=kernel, gamma=gamma, budget=budget, mode=options.mode, least=least, seed=options.seed
    )  # fmt: skip


def open_choices(options: KernelOptions) -> tuple[str, ...]:
    """Options that are left to be chosen on the data: of the length, and of the ridge."""
    name, gamma = options.resolution
    length = options.length is None and options.kernel in LENGTH_KERNELS
    return ("length",) * length + (name,) * (gamma is None)


def with_choices(options: Options, sampling: DictionaryOptions) -> Options:
    """The options with the length and the budget that were chosen where none were given."""
    if "length" in open_choices(options):
        options = replace(options, length=sampling.kernel.length)
    return replace(options, budget=sampling.budget)


def sample_places(source: Source) -> tuple[int, list[int]]:
    """Rows of each part of the sample, and where they begin."""
    m = source.shape[0]
    height = min(m, SAMPLE_ROWS // PARTS)
    parts = min(PARTS, -(-m // height))
    return height, [int(a) for a in np.linspace(0, m - height, parts)]


def read_sample(source: Source) -> tuple[Matrix, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Rows from places spread over the matrix in float64, and their numbers; those with NaN or Inf left out.

    Raises
    ------
    SpecError
        If squares of their entries leave float64: nothing is chosen on them.
    """
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
    check_magnitude(size_of(joined[good]), source.name)
    return joined[good], index[good]


def settle_sampling(
    options: KernelOptions,
    sample: Matrix,
    targets: Matrix | None = None,
    trains: npt.NDArray[np.bool_] | None = None,
) -> DictionaryOptions:
    """The sampling by a kernel of which nothing is left open: its scale and centre, and a length where none was given.

    Parameters
    ----------
    options
        As asked for. A length that is left out is the median distance of rows, or with targets a multiple of it that
        predicts better.
    sample
        Rows.
    targets, trains
        Of the rows of the sample: targets, and which of them may be looked at.
    """
    sampling, seed = sampling_of(options), options.seed
    kernel = sampling.kernel
    if sample.shape[0] == 0:
        return sampling
    if options.scale:
        deviation = sample.std(axis=0)
        divisor = np.where(deviation > 0, deviation, 1.0)
        kernel, sample = replace(kernel, scale=divisor), sample / divisor
    name = kernel.name if isinstance(kernel.name, str) else ""
    kernel = replace(kernel, centre=sample.mean(axis=0))
    if options.length is None and name in LENGTH_KERNELS:
        kernel = replace(kernel, length=typical_length(sample, name, seed=seed))
        if targets is not None:
            order = np.random.default_rng(seed).permutation(sample.shape[0])
            order = order[:JUDGED_ROWS] if trains is None else order[trains[order]][:JUDGED_ROWS]
            plain = replace(kernel, scale=None)  # the sample is divided already
            best = best_length(plain, sample[order], targets[order])
            kernel = replace(kernel, length=best)
    if options.resolution[1] is None and name in UNBOUNDED_KERNELS:
        plain = replace(kernel, scale=None)
        typical = float(plain.diagonal(sample).mean())
        if 0 < typical < np.inf:
            sampling = replace(sampling, gamma=SMALLEST_GAMMA * typical)
    return replace(sampling, kernel=kernel)
