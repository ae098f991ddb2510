"""Row steps: what is done to counts, documents and graphs, entry by entry or by sums of whole rows, before they are factorised.

A step is a frozen value. It is computed in float64, on stored entries or on dense rows alike: both are `Entries`. Steps run in
their order, and each but Pearson residuals leaves a zero as zero, so that what is sparse stays sparse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.numerics.row_entries import (
    Entries,
    refuse_fractions,
    refuse_infinite,
    refuse_negative,
)
from streamsvd.typing import Real

Need = Literal["row sums", "documents", "column sums"]
"""What a step is to know of all rows before one of them is read: their sums, entries of each column that are not 0, sums of columns."""


@dataclass(frozen=True, slots=True)
class CountTotals:
    """What was counted of all rows, with the steps before one.

    Attributes
    ----------
    n_rows
        Rows.
    row_sums, column_sums, documents
        Of each row, ``(m,)``, and of each column, ``(n,)``; None where no step needs them.
    """

    n_rows: int
    row_sums: Real | None = None
    column_sums: Real | None = None
    documents: npt.NDArray[np.int64] | None = None


class RowStep(Protocol):
    """What is done to each row.

    Attributes
    ----------
    keeps_zeros, keeps_others
        Whether a zero stays zero, and whether nothing else becomes one.
    of_whole_rows
        Whether it depends on sums of whole rows.
    """

    keeps_zeros: ClassVar[bool]
    keeps_others: ClassVar[bool]

    @property
    def text(self) -> str:
        """How it is written, `parse_steps` of which is the same step."""
        ...

    @property
    def of_whole_rows(self) -> bool: ...

    @property
    def need(self) -> Need | None:
        """What is to be counted before it can be applied; None where nothing is, or it was."""
        ...

    @property
    def vector(self) -> Real | None:
        """What it knows of each column, ``(n,)``; None for nothing."""
        ...

    def with_totals(self, totals: CountTotals) -> RowStep:
        """The same with what was counted."""
        ...

    def with_vector(self, vector: Real) -> RowStep:
        """The same with what is known of each column."""
        ...

    def is_same(self, known: RowStep) -> bool:
        """Whether it is a step that knows its counts, but for these."""
        ...

    def apply(self, entries: Entries) -> None:
        """Change the entries."""
        ...


@dataclass(frozen=True, slots=True)
class PlainStep:
    """A step that needs nothing but the entry."""

    keeps_zeros: ClassVar[bool] = True
    keeps_others: ClassVar[bool] = True
    name: ClassVar[str]

    @property
    def text(self) -> str:
        return self.name

    @property
    def of_whole_rows(self) -> bool:
        return False

    @property
    def need(self) -> Need | None:
        return None

    @property
    def vector(self) -> Real | None:
        return None

    def with_totals(self, totals: CountTotals) -> Any:
        del totals
        return self

    def with_vector(self, vector: Real) -> Any:
        raise SpecError(f"{self.text} has {vector.size} numbers of columns, and takes none.")

    def is_same(self, known: RowStep) -> bool:
        return self.text == known.text


@dataclass(frozen=True, slots=True)
class Normalize(PlainStep):
    """Each row times ``target / sum``: its sum is the target then. A row whose sum is not positive stays as it is.

    Attributes
    ----------
    target
        The sum; None for the median of the positive sums of rows, as scanpy's ``normalize_total`` has it.
    """

    target: float | None = None
    name: ClassVar[str] = "normalize"

    def __post_init__(self) -> None:
        if self.target is not None and not 0 < self.target < np.inf:
            raise SpecError(
                f"'normalize={self.target:g}' is no sum of a row. Pass a positive number, such as 'normalize=1e4'."
            )

    @property
    def text(self) -> str:
        return self.name if self.target is None else f"{self.name}={_shortest(self.target)}"

    @property
    def of_whole_rows(self) -> bool:
        return True

    @property
    def need(self) -> Need | None:
        return "row sums" if self.target is None else None

    def with_totals(self, totals: CountTotals) -> Normalize:
        assert totals.row_sums is not None
        positive = totals.row_sums[totals.row_sums > 0]
        if not positive.size:
            raise SpecError(
                "normalize has no target: no row has a positive sum. Pass 'normalize=1e4', or leave the step out."
            )
        return Normalize(float(np.median(positive)))

    def is_same(self, known: RowStep) -> bool:
        return isinstance(known, Normalize) and self.target in (None, known.target)

    def apply(self, entries: Entries) -> None:
        assert self.target is not None
        sums = entries.row_sums()
        there = sums > 0
        sums[there] = self.target / sums[there]
        sums[~there] = 1.0
        entries.multiply_rows(sums)


@dataclass(frozen=True, slots=True)
class Log1p(PlainStep):
    """``log(1 + x)`` of each entry."""

    name: ClassVar[str] = "log1p"

    def apply(self, entries: Entries) -> None:
        refuse_negative(entries, self.name)
        np.log1p(entries.values, out=entries.values)


@dataclass(frozen=True, slots=True)
class Sqrt(PlainStep):
    """The root of each entry."""

    name: ClassVar[str] = "sqrt"

    def apply(self, entries: Entries) -> None:
        refuse_negative(entries, self.name)
        np.sqrt(entries.values, out=entries.values)


@dataclass(frozen=True, slots=True)
class Binarize(PlainStep):
    """1 of each entry that is not 0; what is missing stays so."""

    name: ClassVar[str] = "binarize"

    def apply(self, entries: Entries) -> None:
        values = entries.values
        np.copyto(values, 1.0, where=(values != 0) & ~np.isnan(values))


@dataclass(frozen=True, slots=True)
class ColumnStep(PlainStep):
    """A step that knows a number of each column."""

    factors: Real | None = field(default=None, compare=False, repr=False, kw_only=True)

    @property
    def vector(self) -> Real | None:
        return self.factors

    def with_vector(self, vector: Real) -> Any:
        return replace(self, factors=vector)


@dataclass(frozen=True, slots=True)
class Tfidf(ColumnStep):
    """Counts of terms by the rarity of the term: ``x log((m + 1) / (documents + 1)) + x``, and rows of norm 1.

    Attributes
    ----------
    smooth
        Whether one document more has every term; without it a term that no document has weighs 0.
    norm
        Of each row afterwards: ``"l2"``, ``"l1"``, or None for whatever it is.
    sublinear
        Whether ``1 + log(x)`` stands for a count.
    factors
        The weight of each column, ``(n,)``; None before it is counted.

    References
    ----------
    .. [1] As ``TfidfTransformer`` of scikit-learn; Salton, Buckley, Information Processing & Management 24 (1988).
    """

    smooth: bool = True
    norm: Literal["l2", "l1"] | None = "l2"
    sublinear: bool = False
    name: ClassVar[str] = "tfidf"

    def __post_init__(self) -> None:
        if self.norm not in ("l1", "l2", None):
            raise SpecError(f"tfidf has no norm {self.norm!r}. Pass l2, l1 or none.")

    @property
    def text(self) -> str:
        words: list[str] = [] if self.norm == "l2" else [self.norm or "none"]
        words += ["sublinear"] * self.sublinear + ["unsmooth"] * (not self.smooth)
        return f"{self.name}={'+'.join(words)}" if words else self.name

    @property
    def of_whole_rows(self) -> bool:
        return self.norm is not None

    @property
    def need(self) -> Need | None:
        return "documents" if self.factors is None else None

    def with_totals(self, totals: CountTotals) -> Tfidf:
        assert totals.documents is not None
        more = 1.0 if self.smooth else 0.0
        documents = totals.documents + more
        there = documents > 0
        idf = np.zeros(documents.size)
        idf[there] = np.log((totals.n_rows + more) / documents[there]) + 1.0
        return replace(self, factors=idf)

    def apply(self, entries: Entries) -> None:
        assert self.factors is not None
        refuse_negative(entries, self.name)
        if self.sublinear:
            there = entries.values != 0
            np.log(entries.values, out=entries.values, where=there)
            entries.values[there] += 1.0
        entries.multiply_columns(self.factors)
        if self.norm is not None:
            norms = entries.row_norms(self.norm)
            norms[norms == 0] = 1.0
            entries.multiply_rows(1.0 / norms)


@dataclass(frozen=True, slots=True)
class ScaleColumns(ColumnStep):
    """Each column times a factor.

    Attributes
    ----------
    factors
        ``(n,)``, finite.
    """

    factors: Real | None = field(default=None, compare=False, repr=False)
    keeps_others: ClassVar[bool] = False
    name: ClassVar[str] = "columns"

    def __post_init__(self) -> None:
        factors = np.asarray([] if self.factors is None else self.factors, np.float64)
        if factors.ndim != 1 or not factors.size or not np.isfinite(factors).all():
            raise SpecError(
                "ScaleColumns takes one finite factor for each column. Pass ScaleColumns(factors); as a text it cannot be said."
            )
        object.__setattr__(self, "factors", factors)

    def is_same(self, known: RowStep) -> bool:
        return self.text == known.text and np.array_equal(self.factors, known.vector)  # type: ignore[arg-type]

    def apply(self, entries: Entries) -> None:
        assert self.factors is not None
        entries.multiply_columns(self.factors)


@dataclass(frozen=True, slots=True)
class ScaleDegrees(ColumnStep):
    """``D_r^a A D_c^b`` of a graph: edges by powers of the weighted degrees, sums of rows and of columns.

    Attributes
    ----------
    row_power, column_power
        ``a`` and ``b``; -0.5 both for the normalised adjacency, -1 and 0 for the random walk.
    factors
        ``D_c^b``, ``(n,)``; None before it is counted. A node without edges has 0.
    """

    row_power: float = -0.5
    column_power: float = -0.5
    keeps_others: ClassVar[bool] = False
    name: ClassVar[str] = "degrees"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.row_power) and np.isfinite(self.column_power)):
            raise SpecError(f"{self.text} has no finite powers. Pass degrees=-0.5,-0.5.")

    @property
    def text(self) -> str:
        return f"{self.name}={_shortest(self.row_power)},{_shortest(self.column_power)}"

    @property
    def of_whole_rows(self) -> bool:
        return self.row_power != 0

    @property
    def need(self) -> Need | None:
        return "column sums" if self.factors is None and self.column_power != 0 else None

    def with_totals(self, totals: CountTotals) -> ScaleDegrees:
        assert totals.column_sums is not None
        return replace(self, factors=_powers(totals.column_sums, self.column_power, "column", 0))

    def apply(self, entries: Entries) -> None:
        if self.row_power != 0:
            first = entries.place(0)[0] if entries.values.size else 0
            degrees = entries.row_sums()
            entries.multiply_rows(_powers(degrees, self.row_power, "row", first))
        if self.factors is not None:
            entries.multiply_columns(self.factors)


def _powers(degrees: Real, power: float, along: str, first: int) -> Real:
    """Powers of degrees, 0 of those that are 0.

    Raises
    ------
    SpecError
        If one is negative; it names its row or column.
    """
    if (degrees < 0).any():
        at = int(np.argmax(degrees < 0))
        raise SpecError(
            f"degrees of {along} {first + at:,} is {degrees[at]:g}: a power of it is no number. Take weights that are not negative, "
            "or leave the step out."
        )
    found = np.zeros(degrees.size)
    there = degrees > 0
    found[there] = degrees[there] ** power
    return found


@dataclass(frozen=True, slots=True)
class PearsonResiduals(ColumnStep):
    """``(x - mu) / sqrt(mu + mu^2 / theta)`` of counts, ``mu`` the sum of the row times the share of the column in all counts.

    Residuals of zeros are no zeros: the matrix is dense afterwards.

    Attributes
    ----------
    theta
        Of the negative binomial law; ``inf`` for Poisson's.
    clip
        Largest modulus of a residual; None for ``sqrt(m)`` of the rows that are counted.
    factors
        Share of each column, ``(n,)``; None before it is counted.

    References
    ----------
    .. [1] Lause, Berens, Kobak, Genome Biology 22 (2021), equations 3 to 5.
    """

    theta: float = 100.0
    clip: float | None = None
    keeps_zeros: ClassVar[bool] = False
    keeps_others: ClassVar[bool] = False
    name: ClassVar[str] = "pearson"

    def __post_init__(self) -> None:
        if not self.theta > 0:
            raise SpecError(f"pearson={self.theta:g}: theta is positive. Pass pearson=100.")
        if self.clip is not None and not self.clip > 0:
            raise SpecError(f"{self.text}: the clip is positive. Leave it out for sqrt(m).")

    @property
    def text(self) -> str:
        clip = "" if self.clip is None else f",{_shortest(self.clip)}"
        return f"{self.name}={_shortest(self.theta)}{clip}"

    @property
    def of_whole_rows(self) -> bool:
        return True

    @property
    def need(self) -> Need | None:
        return "column sums" if self.factors is None else None

    def with_totals(self, totals: CountTotals) -> PearsonResiduals:
        assert totals.column_sums is not None
        total = float(totals.column_sums.sum())
        clip = float(np.sqrt(totals.n_rows)) if self.clip is None else self.clip
        return replace(self, clip=clip, factors=totals.column_sums / (total or 1.0))

    def is_same(self, known: RowStep) -> bool:
        return (
            isinstance(known, PearsonResiduals)
            and self.theta == known.theta
            and self.clip in (None, known.clip)
        )

    def apply(self, entries: Entries) -> None:
        assert self.factors is not None
        assert self.clip is not None
        refuse_negative(entries, self.name)
        refuse_fractions(entries, self.name)
        mean = np.multiply.outer(entries.row_sums(), self.factors)
        spread = mean * mean
        spread /= self.theta
        spread += mean
        np.sqrt(spread, out=spread)
        values = entries.values
        values -= mean
        np.divide(values, spread, out=values, where=spread > 0)
        values[spread == 0] = 0.0
        np.clip(values, -self.clip, self.clip, out=values)


def apply_in_order(entries: Entries, steps: Sequence[RowStep]) -> None:
    """All steps, one after the other, in the memory of the entries.

    Raises
    ------
    SpecError, BadEntry
        If an entry is none that a step takes, or Inf; it names row and column.
    """
    refuse_infinite(entries)
    for step in steps:
        step.apply(entries)


def _shortest(number: float) -> str:
    """A number as it is read again, without a useless fraction."""
    return str(int(number)) if abs(number) < 1e15 and number == int(number) else repr(number)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"'{name}={text}': {text!r} is no number. {_choices()}") from None


def _parse_normalize(said: str) -> RowStep:
    return Normalize(None if said in ("", "median") else _number("normalize", said))


def _parse_tfidf(said: str) -> RowStep:
    norm: Any = "l2"
    words = [word.strip() for word in said.split("+") if word.strip()]
    for word in words:
        if word in ("l1", "l2", "none"):
            norm = None if word == "none" else word
        elif word not in ("sublinear", "unsmooth"):
            raise SpecError(
                f"'tfidf={said}': {word!r} is no word of it. Pass l1, l2 or none, sublinear, unsmooth, joined by +. {_choices()}"
            )
    return Tfidf("unsmooth" not in words, norm, "sublinear" in words)


def _parse_pearson(said: str) -> RowStep:
    theta, cut, clip = said.partition(",")
    return PearsonResiduals(
        _number("pearson", theta) if said else 100.0, _number("pearson", clip) if cut else None
    )


def _parse_degrees(said: str) -> RowStep:
    row, cut, column = said.partition(",")
    if not cut:
        raise SpecError(
            f"'degrees={said}' names no two powers. Pass 'degrees=-0.5,-0.5'. {_choices()}"
        )
    return ScaleDegrees(_number("degrees", row), _number("degrees", column))


def _plain(kind: Callable[[], RowStep]) -> Callable[[str], RowStep]:
    def parse(said: str) -> RowStep:
        step = kind()
        if said:
            raise SpecError(f"'{step.text}={said}': {step.text} takes no value. {_choices()}")
        return step

    return parse


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[str], RowStep]]] = {
    "normalize": (
        (
            "normalize",
            "normalize=1e4",
        ),
        _parse_normalize,
    ),
    "tfidf": (
        (
            "tfidf",
            "tfidf=l1+sublinear",
        ),
        _parse_tfidf,
    ),
    "pearson": (
        (
            "pearson",
            "pearson=100",
        ),
        _parse_pearson,
    ),
    "degrees": (("degrees=-0.5,-0.5",), _parse_degrees),
    "log1p": (("log1p",), _plain(Log1p)),
    "sqrt": (("sqrt",), _plain(Sqrt)),
    "binarize": (("binarize",), _plain(Binarize)),
}


def _choices() -> str:
    return f"Steps are {', '.join(repr(text) for said, _ in _KINDS.values() for text in said)}."


def parse_steps(texts: str | Sequence[str]) -> tuple[RowStep, ...]:
    """Steps from texts such as ``["normalize=1e4", "log1p"]``, in their order.

    Parameters
    ----------
    texts
        One for each step; or all of them in one, with commas.

    Raises
    ------
    SpecError
        If there is no such step, or its value is none; it names the step and lists what there is.
    """
    found = []
    for text in split_steps(texts) if isinstance(texts, str) else texts:
        name, _, said = text.partition("=")
        name = name.strip().replace("ise", "ize")
        if name not in _KINDS:
            raise SpecError(f"{text!r} is no step. {_choices()}")
        found.append(_KINDS[name][1](said.strip()))
    return tuple(found)


def split_steps(text: str) -> tuple[str, ...]:
    """``"degrees=-0.5,-0.5,log1p"`` as two texts: what begins with no letter belongs to the step before it."""
    found = list[str]()
    for part in text.split(","):
        if found and part.strip()[:1] in tuple("+-.0123456789"):
            found[-1] += f",{part.strip()}"
        elif part.strip():
            found.append(part.strip())
    return tuple(found)


def texts_of(steps: Sequence[RowStep]) -> str:
    """Steps for a message."""
    return ", ".join(repr(step.text) for step in steps) or "none"
