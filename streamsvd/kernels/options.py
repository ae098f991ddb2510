"""What the verbs of kernels are asked alike: a kernel, how rows are sampled, and what is left to be chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from streamsvd.checks.numbers import check_integer, check_numbers, check_seed
from streamsvd.errors import SpecError
from streamsvd.kernels.choice import given_kernel, settle_kernel
from streamsvd.kernels.mathematics import DictionaryOptions, Mode
from streamsvd.kernels.mathematics.dictionary import LEAST
from streamsvd.kernels.mathematics.kernel import LENGTH_KERNELS
from streamsvd.typing import Matrix

DEFAULT_CENTRES = 256
RATIO = 4
"""Rows of the dictionary for each centre: four of them make greedy centres as good as those of many passes."""
SMALLEST_GAMMA, AUTO_LEAST = 1e-12, 3.0
"""Where no ridge is given: what to begin from, and the oversampling below which it rises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelOptions:
    """The options that `streamsvd.nystrom` documents, checked before anything is read.

    Attributes
    ----------
    spec
        How rows are sampled, by the kernel as far as it was given.
    left_open
        Which of ``length`` and ``gamma`` are left to be chosen.

    Raises
    ------
    SpecError
        If an option cannot be meant.
    """

    kernel: str | Callable[[Matrix, Matrix], Matrix]
    length: float | None
    degree: int
    offset: float
    smoothness: float
    scale: bool
    gamma: float | None
    n_centres: int
    budget: int | None
    mode: Mode
    seed: int
    spec: DictionaryOptions = field(init=False)
    left_open: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        kernel = given_kernel(self.kernel, self.length, self.degree, self.offset, self.smoothness)
        check_seed(self.seed)
        gamma, least = self.gamma, LEAST
        check_numbers(gamma=gamma)
        n_centres = check_integer("n_centres", self.n_centres, least=1)
        budget = (
            RATIO * n_centres
            if self.budget is None
            else check_integer("budget", self.budget, least=1)
        )
        if budget < n_centres:
            raise SpecError(
                f"budget={budget} is less than n_centres={n_centres}. Pass at least as many."
            )
        chosen = ["length"] if self.length is None and kernel.name in LENGTH_KERNELS else []
        if gamma is None:
            if self.mode == "kors":
                raise SpecError("mode='kors' decides for ever and needs a ridge. Pass gamma=.")
            chosen.append("gamma")
            gamma, least = SMALLEST_GAMMA, AUTO_LEAST
        spec = DictionaryOptions(
            kernel=kernel, gamma=gamma, budget=budget, mode=self.mode, least=least, seed=self.seed
        )
        object.__setattr__(self, "spec", spec)
        object.__setattr__(self, "left_open", tuple(chosen))

    def settle(
        self,
        sample: Matrix,
        targets: Matrix | None = None,
        trains: npt.NDArray[np.bool_] | None = None,
    ) -> DictionaryOptions:
        """The sampling by a kernel of which nothing is left open, as chosen on rows, or on rows and their targets."""
        kernel = settle_kernel(
            self.spec.kernel, sample, length=self.length, scale=self.scale, targets=targets, trains=trains, seed=self.seed
        )  # fmt: skip
        return replace(self.spec, kernel=kernel)
