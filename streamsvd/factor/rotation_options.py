"""What a rotation may be asked: one record, for which nothing of mathematics is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from streamsvd.checks.numbers import check_integer, is_number
from streamsvd.errors import SpecError
from streamsvd.options import make_plain, option

RotationMethod = Literal["varimax", "promax"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationOptions:
    """What a rotation may be asked.

    Raises
    ------
    SpecError
        If an option cannot be meant.
    """

    n_components: int | None = option(None, "Leading components to rotate [all that are positive].")
    method: RotationMethod = option("varimax", "Orthogonal, or oblique from there.")
    power: float = option(4.0, "Of promax: the power that makes small loadings smaller.")
    normalize: bool = option(True, "Let all columns count alike (Kaiser).")
    tol: float = option(1e-10, "Relative gain of a plane at which the criterion is a maximum.")
    max_iterations: int = option(100, "Most sweeps over all planes.")

    def __post_init__(self) -> None:
        make_plain(self)
        if self.n_components is not None:
            check_integer("n_components", self.n_components, least=1)
        if self.method not in get_args(RotationMethod):
            raise SpecError(f'method={self.method!r} is unknown. Pass "varimax" or "promax".')
        if not is_number(self.power) or not 1 <= self.power < 100:
            raise SpecError(
                f"power={self.power!r} is no power of promax. Pass a number from 1, which is varimax, to 100; 4 is usual."
            )
        object.__setattr__(self, "power", float(self.power))
        if not isinstance(self.normalize, bool):
            raise SpecError(f"normalize={self.normalize!r} is neither True nor False.")
        if not is_number(self.tol) or not 0 < self.tol < 1:
            raise SpecError(
                f"tol={self.tol!r} is no relative gain. Pass one in (0, 1), such as 1e-10."
            )
        check_integer("max_iterations", self.max_iterations, least=1)
