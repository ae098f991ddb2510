"""What the verbs of rows may be asked: one record a verb, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from streamsvd.checks.numbers import check_numbers, check_seed, is_integer
from streamsvd.errors import SpecError
from streamsvd.options import make_plain, option

Method = Literal["auto", "qr", "precondition", "sketch"]
Kind = Literal["leverage", "ridge", "root-leverage", "sensitivity"]
SampleMethod = Literal["two-pass", "online"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresOptions:
    """What `lstsq` may be asked."""

    method: Method = option(
        "auto", "One pass by the triangle; a sketch and some passes; the sketch alone."
    )
    ridge: float = option(0.0, "Times |x|^2, which is added.")
    tol: float = option(
        0.0,
        "Gradient, relative to b, that ends the iteration; 0 for as small as rounding lets it be.",
    )
    seed: int = option(0, "Of the random numbers.")

    def __post_init__(self) -> None:
        make_plain(self)
        if self.method not in get_args(Method):
            raise SpecError(
                f"method={self.method!r} is unknown. Pass one of {', '.join(get_args(Method))}."
            )
        check_seed(self.seed)
        check_numbers(ridge=self.ridge, tol=self.tol)
        if not 0 <= self.ridge < float("inf"):
            raise SpecError(
                f"ridge={self.ridge} is no ridge. Pass a positive number, or 0 for none."
            )
        if not 0 <= self.tol < 1:
            raise SpecError(
                f"tol={self.tol} is out of range. Pass a number in [0, 1), 0 to go on until rounding stops it."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions:
    """What `sample_rows` may be asked."""

    size: int | None = option(None, "Most rows to keep.")
    scores: Kind = option("leverage", "How much a row matters.")
    oversampling: float | None = option(
        None, "Instead of a size: a row is kept with chance min(1, oversampling * score)."
    )
    gamma: float | None = option(None, "Ridge of scores=ridge, and of the online scores.")
    p: float = option(2.0, "The norm that root-leverage and sensitivity are for.")
    method: SampleMethod = option(
        "two-pass", "Exact scores; or one pass, every decision final, more rows."
    )
    seed: int = option(0, "Of the sampling.")

    def __post_init__(self) -> None:
        make_plain(self)
        for name, known in (("scores", Kind), ("method", SampleMethod)):
            value = getattr(self, name)
            if value not in get_args(known):
                raise SpecError(
                    f"{name}={value!r} is unknown. Pass one of {', '.join(get_args(known))}."
                )
        check_seed(self.seed)
        check_numbers(oversampling=self.oversampling, gamma=self.gamma, p=self.p)
        self._check_amount()
        self._check_norm()
        self._check_ridge()

    @property
    def ridge(self) -> float:
        """What is added to both sides of the certificate."""
        return self.gamma or 0.0 if self.scores == "ridge" else 0.0

    def _check_amount(self) -> None:
        size: Any = self.size
        oversampling = self.oversampling
        if size is not None and oversampling is not None:
            raise SpecError(
                f"size={size} and oversampling={oversampling} exclude each other. Pass one of them."
            )
        if size is not None and (not is_integer(size) or size < 1):
            raise SpecError(f"size={size!r} is no number of rows. Pass an integer of 1 or more.")
        if oversampling is not None and not 0 < oversampling < float("inf"):
            raise SpecError(f"oversampling={oversampling} keeps nothing. Pass a positive number.")

    def _check_norm(self) -> None:
        kind, p = self.scores, self.p
        if kind in ("leverage", "ridge") and p != 2:
            raise SpecError(
                f'scores={kind!r} are for p=2, and p={p} was passed. Pass scores="sensitivity".'
            )
        if kind == "root-leverage" and not 1 <= p < 2:
            raise SpecError(
                f'scores="root-leverage" is for norms of 1 <= p < 2, and p={p} was passed. Pass such a p, or '
                'scores="sensitivity" beyond.'
            )
        if not 1 <= p < float("inf"):
            raise SpecError(f"p={p} is no norm that rows are sampled for. Pass 1 <= p.")

    def _check_ridge(self) -> None:
        kind, gamma, method = self.scores, self.gamma, self.method
        if gamma is not None and not 0 < gamma < float("inf"):
            raise SpecError(f"gamma={gamma} is no ridge. Pass a positive number.")
        if kind == "ridge" and gamma is None:
            raise SpecError('scores="ridge" has no ridge. Pass gamma=.')
        if method == "online" and (self.size is not None or kind not in ("leverage", "ridge")):
            raise SpecError(
                f'method="online" decides on each row as it comes: no size={self.size} can be kept, and scores={kind!r} must be '
                "leverage or ridge. Pass oversampling=, or take two passes."
            )
        if gamma is not None and kind != "ridge" and method != "online":
            raise SpecError(
                f'gamma={gamma} has no meaning for scores={kind!r}. Pass scores="ridge".'
            )
