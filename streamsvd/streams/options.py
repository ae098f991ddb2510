"""What the verbs of streams may be asked: one record a verb, and that of the stream itself, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

from streamsvd.checks.numbers import check_integer, check_seed
from streamsvd.errors import SpecError
from streamsvd.options import option

OrderMode = Literal["auto", "random", "arbitrary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """What is asked of a stream, and how much it may remember.

    Parameters
    ----------
    k
        Eigenvectors wanted.
    width
        Columns iterated, the k wanted and some more: the knob of accuracy; ``k + max(10, k)`` if left out.
    heavy_rows
        Rows of large norm kept as they are; 64.
    heavy_share
        A row is heavy if its squared norm is at least ``max(||A||_F^2 / d, value_k) / heavy_share``; 16.
    sketch_rows
        Rows of the Frequent Directions sketch, which no order of rows can fool; twice the width if left out, four
        times where the order is arbitrary.
    probes
        Gaussian columns that bound what lies outside the answer, and choose between candidates; 16.
    windows
        Parts of the stream after each of which the basis is brought up to date, where its length is known; 64.
    holdout
        Share of the rows that only judge the answer, where the length is known; 0.1.
    forgetting
        Largest exponent by which older windows weigh less; 4.
    delta
        Failure probability of the statistical claims; 0.05.
    order
        ``"auto"`` measures whether rows come in random order, ``"random"`` trusts it, ``"arbitrary"`` does not.
    seed
        Of all random numbers.

    Raises
    ------
    SpecError
        If an option is out of range.

    References
    ----------
    Kacham, Woodruff (2024) for heavy rows and random order; Price, Xun (2024) for arbitrary order; Ghashami,
    Liberty, Phillips, Woodruff (2016) for Frequent Directions.
    """

    k: int = 1
    width: int | None = None
    heavy_rows: int = 64
    heavy_share: float = 16.0
    sketch_rows: int | None = None
    probes: int = 16
    windows: int = 64
    holdout: float = 0.1
    forgetting: float = 4.0
    delta: float = 0.05
    order: OrderMode = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("k", "width", "heavy_rows", "sketch_rows", "probes", "windows", "seed"):
            value = getattr(self, name)
            if value is not None:  # numpy's integers become plain ones, which can be saved
                object.__setattr__(self, name, check_integer(name, value))
        for name in ("heavy_share", "holdout", "forgetting", "delta"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real):
                raise SpecError(f"{name}={value!r} is not a number. Pass one.")
            object.__setattr__(self, name, float(value))
        self._check_sizes()
        self._check_shares()

    def _check_shares(self) -> None:
        """Refuse shares, exponents and words out of range."""
        if not 0 < self.heavy_share < float("inf"):
            raise SpecError(f"heavy_share={self.heavy_share} is no share. Pass a positive number.")
        if not 0 < self.holdout < 1:
            raise SpecError(f"holdout={self.holdout} is outside (0, 1). Pass a share such as 0.1.")
        if not 0 <= self.forgetting < float("inf"):
            raise SpecError(f"forgetting={self.forgetting} is no exponent. Pass 0 or more.")
        if not 0 < self.delta < 1:
            raise SpecError(f"delta={self.delta} is no probability. Pass one in (0, 1).")
        if self.order not in get_args(OrderMode):
            raise SpecError(
                f'order={self.order!r} is unknown. Pass "auto", "random" or "arbitrary".'
            )

    def _check_sizes(self) -> None:
        """Refuse numbers of rows and columns out of range."""
        check_seed(self.seed)
        if self.k < 1:
            raise SpecError(f"k={self.k} is no number of eigenvectors. Pass k >= 1.")
        if self.width is not None and self.width < self.k + 1:
            raise SpecError(
                f"width={self.width} leaves no room beyond k={self.k}. Pass k + 1 or more."
            )
        if self.heavy_rows < 0:
            raise SpecError(f"heavy_rows={self.heavy_rows} is no number of rows. Pass 0 or more.")
        if self.sketch_rows is not None and self.sketch_rows <= self.k:
            raise SpecError(
                f"sketch_rows={self.sketch_rows} cannot hold k={self.k} directions. Pass more than k."
            )
        if self.probes < 2:
            raise SpecError(f"probes={self.probes} bound nothing. Pass 2 or more.")
        if self.windows < 1:
            raise SpecError(f"windows={self.windows} is no number of parts. Pass 1 or more.")

    @property
    def columns(self) -> int:
        """Columns iterated on light rows, b."""
        return self.k + max(10, self.k) if self.width is None else self.width

    @property
    def rows(self) -> int:
        """Rows of the Frequent Directions sketch, l; it has all the room where nothing else is kept."""
        if self.sketch_rows is not None:
            return self.sketch_rows
        return max((4 if self.order == "arbitrary" else 2) * self.columns, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopEigenvectorsOptions:
    """What `top_eigenvectors` may be asked; the rest of the stream's options are as they are left out there."""

    k: int = option(1, "Eigenvectors wanted.")
    order: OrderMode = option(
        "auto",
        "auto mixes the rows and measures their order; random trusts it; arbitrary assumes nothing.",
    )
    passes: int = option(1, "Further passes make them exact.")
    n_rows: int | None = option(None, "Rows of a stream of blocks, if their number is known.")
    width: int | None = option(None, "Columns iterated [k + max(10, k)].")
    heavy_rows: int = option(64, "Rows of large norm kept as they are.")
    delta: float = option(0.05, "Probability that a statistical claim fails.")
    seed: int = option(0, "Of the random numbers.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", check_integer("passes", self.passes))
        if self.passes < 1:
            raise SpecError(f"passes={self.passes} leaves nothing to do. Pass at least 1.")
        if self.n_rows is not None:
            object.__setattr__(self, "n_rows", check_integer("n_rows", self.n_rows))
        stream = self.stream
        for name in ("k", "width", "heavy_rows", "delta", "seed"):  # as plain numbers
            object.__setattr__(self, name, getattr(stream, name))

    @property
    def stream(self) -> StreamOptions:
        """Those of the stream, before they are fitted to a memory."""
        return StreamOptions(
            k=self.k,
            order=self.order,
            width=self.width,
            heavy_rows=self.heavy_rows,
            delta=self.delta,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleOptions:
    """What `shuffle` may be asked."""

    seed: int = option(0, "Of the order: the same seed gives the same.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))
