"""What `svd` and `pca` may be asked: one record, checked when it is made as far as no matrix is needed for it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from streamsvd.checks.numbers import is_integer, is_number
from streamsvd.checks.weights import weight_array
from streamsvd.errors import ShapeError, SpecError
from streamsvd.numerics.scalings import SCALINGS, Scale, plain_scale
from streamsvd.options import EXCESS_TOL, POLICIES, TOL, Policy, make_plain, option

Certify = Literal["bounds", "estimate"]
Target = Literal["auto", "values", "error"]
Precision = Literal["auto", "single", "double"]
Route = Literal["krylov", "gram"]

MAX_PASSES = 12
DELTA = 1e-6
SEARCH_RANK = 1000
"""Most triplets where the rank is to be found from an energy."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SVDOptions:
    """What a factorisation may be asked. Of a plan, as it holds: with the bytes and the tolerance that were left out."""

    rank: int | None = option(None, "Triplets wanted.")
    energy: float | None = option(None, "Instead: smallest rank that holds this share.")
    tol: float | None = option(
        None,
        "Relative width asked of every interval [1e-3]; alone: relative error of the factorisation.",
    )
    memory: int | str | None = option(
        None, "Most memory above imports, such as 256MiB [half of what is free].", decides=False
    )
    center: bool = option(False, "Subtract the mean of each column.")
    scale: Scale = option(False, "Divide each column by its standard deviation.")
    row_weights: Any = option(None, "One weight for each row, 0 to leave it out unseen.")
    column_weights: Any = option(None, "One factor for each column, 0 to leave it out unseen.")
    nonfinite: Policy = option("raise", "What a NaN means; Inf is always an error.")
    mask: Any = option(
        None,
        "Columns to keep: a boolean array beside SOURCE in its group, or in a file; auto: those that have a value.",
    )
    u: bool = option(False, "Keep the left factor too (one more pass).")
    out: str | None = option(None, "Folder for the result (zarr).", decides=False)
    max_passes: int = option(MAX_PASSES, "Most passes of the loop.")
    certify: Certify = option("bounds", "Proved intervals, or estimates that may save a pass.")
    target: Target = option(
        "auto",
        "Prove every value to --tol, or an error close to the best of the rank; auto: the first, where it can be had.",
    )
    excess_tol: float = option(
        EXCESS_TOL, "Share above the best error that is good enough; 0 asks for values alone."
    )
    device: str = option("cpu", "Where products are computed.")
    precision: Precision = option("auto", "Of the products; sums are in double precision always.")
    route: Route | None = option(None, "Restrict the choice to a Krylov space or the Gram matrix.")
    checkpoint: str | None = option(
        None,
        "Save the state there every 30 s, and go on from it after a kill.",
        decides=False,
    )
    seed: int = option(0, "Of the random blocks.")
    delta: float = option(DELTA, "Probability that an upper bound fails.")

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "scale", plain_scale(self.scale))
        if isinstance(self.scale, str) and self.scale not in SCALINGS:
            raise SpecError(
                f"scale={self.scale!r} is unknown. Pass True, False, {' or '.join(map(repr, SCALINGS))}."
            )
        self._check_amount()
        if self.max_passes < 1:
            raise SpecError(f"max_passes={self.max_passes} leaves nothing to do. Pass at least 1.")
        for name, known in (("certify", Certify), ("precision", Precision), ("target", Target)):
            _check_known(name, getattr(self, name), get_args(known))
        self._check_excess()
        if self.nonfinite not in POLICIES:
            raise SpecError(
                f"nonfinite={self.nonfinite!r} is unknown. Pass one of {', '.join(POLICIES)}."
            )
        if self.route not in (None, *get_args(Route)):
            raise SpecError(f'route={self.route!r} is unknown. Pass "krylov", "gram" or nothing.')
        if not 0 < self.delta < 1:
            raise SpecError(
                f"delta={self.delta} is no probability of failure. Pass one in (0, 1), such as 1e-6."
            )
        if not is_integer(self.seed) or not 0 <= self.seed < 2**64:
            raise SpecError(
                f"seed={self.seed} is out of range. Pass an integer from 0 to 2**64 - 1."
            )

    @classmethod
    def of(cls, **given: Any) -> SVDOptions:
        """Of what a caller wrote: weights become arrays, places text, and numbers of numpy plain ones."""
        for name, what in (("row_weights", "rows"), ("column_weights", "columns")):
            given[name] = weight_array(given.get(name), name, what)
        for name in ("out", "checkpoint"):
            if isinstance(given.get(name), os.PathLike):
                given[name] = os.fspath(given[name])
        return cls(**given)

    def __eq__(self, other: object) -> bool:
        """Whether every option is the same, arrays by their values."""
        if not isinstance(other, SVDOptions):
            return NotImplemented
        from numpy import array_equal  # the command line asks for help without it

        return all(
            array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(SVDOptions)
        )

    @property
    def searches_rank(self) -> bool:
        """Whether the rank is to be found: the smallest that holds a share of the energy."""
        return self.rank is None

    @property
    def energy_share(self) -> float | None:
        """That share; None where the rank is given. ``||A - A_r||_F <= tol ||A||_F`` is a share of ``1 - tol**2``."""
        if self.searches_rank and self.energy is None and self.tol is not None:
            # below 1, the share that allows for rounding
            return min(1 - self.tol * self.tol, math.nextafter(1.0, 0.0))
        return self.energy

    @property
    def width_tol(self) -> float:
        """Relative width asked of every interval."""
        return TOL if self.tol is None else float(self.tol)

    @property
    def wants_bounds(self) -> bool:
        """Whether a certificate of bounds is wanted, so that probes ride along."""
        return self.certify == "bounds"

    @property
    def keeps_u_in_memory(self) -> bool:
        """Whether the left factor, where it is wanted, is to be returned as an array."""
        return self.out is None

    @property
    def has_saves(self) -> bool:
        """Whether what passes find is saved, so that a run that was killed can go on."""
        return self.checkpoint is not None

    def rank_limit(self, shape: tuple[int, int]) -> int:
        """Triplets wanted of a matrix; where the rank is searched, the most that are tried."""
        return min(*shape, SEARCH_RANK) if self.rank is None else self.rank

    def check_shape(self, shape: tuple[int, int]) -> None:
        """Refuse a rank that a matrix cannot have.

        Raises
        ------
        ShapeError
            It names how many singular values there are.
        """
        smallest = min(shape)
        if self.rank is not None and not 1 <= self.rank <= smallest:
            what = "below 1" if self.rank < 1 else f"more than the {smallest} singular values of A"
            raise ShapeError(
                f"rank={self.rank} is {what}, of shape {shape[0]:,} x {shape[1]:,}. "
                f"Pass 1 <= rank <= {smallest}."
            )

    def _check_amount(self) -> None:
        rank, energy, tol = self.rank, self.energy, self.tol
        for name, value in (("energy", energy), ("tol", tol)):
            if value is not None and not is_number(value):
                raise SpecError(f"{name}={value!r} is not a number. Pass one, such as 1e-3.")
        if rank is None and energy is None and tol is None:
            raise SpecError("nothing says how much is wanted. Pass rank=, energy= or tol=.")
        if rank is not None and energy is not None:
            raise SpecError(
                f"rank={rank} and energy={energy} exclude each other. Pass one of them."
            )
        if rank is not None and not is_integer(rank):
            raise SpecError(f"rank={rank!r} is not an integer. Pass the number of triplets wanted.")
        if energy is not None and not 0 < energy <= 1:
            raise SpecError(
                f"energy={energy} is no share of the energy. Pass one in (0, 1], such as 0.99."
            )
        if tol is not None and not 1e-12 <= tol < 1:
            raise SpecError(
                f"tol={tol} is out of range. Pass a relative width in [1e-12, 1), such as 1e-3."
            )

    def _check_excess(self) -> None:
        excess_tol = self.excess_tol
        if not is_number(excess_tol):
            raise SpecError(f"excess_tol={excess_tol!r} is not a number. Pass one, such as 1e-2.")
        if not 0 <= excess_tol < float("inf"):
            raise SpecError(
                f"excess_tol={excess_tol} is no excess of an error. Pass one from 0, such as 1e-2; 0 asks for values alone."
            )
        if self.target == "error" and excess_tol == 0:
            raise SpecError(
                'target="error" with excess_tol=0 can never be proved. Pass a positive excess_tol, such as 1e-2.'
            )


RUN_OPTIONS = ("seed", "delta")
"""Fields that a plan does not depend on."""
PLAN_OPTIONS = tuple(f.name for f in fields(SVDOptions) if f.name not in RUN_OPTIONS)
"""Fields that `plan_svd` takes too."""


def _check_known(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        *most, last = (f'"{word}"' for word in known)
        raise SpecError(f"{name}={value!r} is unknown. Pass {', '.join(most)} or {last}.")
