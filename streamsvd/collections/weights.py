"""What a caller says of where errors matter: weights of rows and of columns, and inputs on which matrices act."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from streamsvd.checks.masks import require_unmasked
from streamsvd.checks.real import check_real
from streamsvd.collections.inputs import read_factor
from streamsvd.collections.mathematics import PLAIN, Metric
from streamsvd.collections.options import check_damping
from streamsvd.engine.events import Callback
from streamsvd.engine.opening import as_source
from streamsvd.engine.saves import Saves, array_digest, source_fingerprint
from streamsvd.errors import ShapeError, SpecError
from streamsvd.protocols import Source
from streamsvd.store.collections import Collection
from streamsvd.store.collections.names import check_used
from streamsvd.typing import Matrix, Real

FAR = 2.0**300
"""Weights beyond it, and below its inverse, have products that float64 may not hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Weights as they were asked, checked, before any inputs are read.

    Attributes
    ----------
    rows
        ``(m,)``, at most 1; None for ones.
    columns
        Weights of the columns of blocks that have any, by name.
    sources
        Samples of inputs.
    acting
        Which of them each block acts on, by name.
    damping
        As of `input_factor`.
    """

    rows: Real | None = None
    columns: Mapping[str, Real] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    acting: Mapping[str, int] = field(default_factory=dict)
    damping: float = 0.0

    @classmethod
    def of(
        cls, collection: Collection, row_weights: Any, column_weights: Any, inputs: Any, damping: Any
    ) -> Weights:  # fmt: skip
        """Checked against a collection.

        Raises
        ------
        ShapeError
            If there are not as many as rows or columns; it names the block.
        SpecError
            If weights are negative, not finite, or no numbers, a pattern matches nothing, or a block has two kinds.
        """
        check_damping(damping)
        if damping and inputs is None:
            raise SpecError(
                f"damping={damping} was passed, but there are no inputs. Pass inputs=, or leave it out."
            )
        rows = None if row_weights is None else _row_weights(row_weights, collection)
        columns = {
            name: _column_weights(value, name, width)
            for name, width, value in _match_blocks(collection, column_weights, "column_weights")
        }
        sources: list[Source] = []
        numbers: dict[Any, int] = {}
        acting: dict[str, int] = {}
        for name, width, value in _match_blocks(collection, inputs, "inputs"):
            if name in columns:
                raise SpecError(
                    f"block {name!r} is named in column_weights and in inputs. Name it in one of them."
                )
            key = os.fspath(value) if isinstance(value, str | os.PathLike) else id(value)
            if key not in numbers:
                numbers[key] = len(sources)
                sources.append(as_source(value))
                check_real(sources[-1])
            acting[name] = numbers[key]
            found = sources[acting[name]]
            if found.shape[1] != width:
                raise ShapeError(
                    f"block {name!r} has {width:,} columns, its inputs {found.name} have {found.shape[1]:,}. "
                    "Inputs are rows of as many entries as the block has columns."
                )
        return cls(rows, columns, tuple(sources), acting, float(damping))

    @property
    def plain(self) -> bool:
        """Whether nothing is weighted."""
        return self.rows is None and not self.columns and not self.sources

    @property
    def nbytes(self) -> int:
        """Bytes of all once they are known, and of reading the inputs beside them."""
        factors = sum(8 * min(self._height(s), s.shape[1]) * s.shape[1] for s in self.sources)
        rows = 0 if self.rows is None else self.rows.nbytes
        return 2 * factors + rows + sum(c.nbytes for c in self.columns.values())

    def _height(self, source: Source) -> int:
        return source.shape[1] if self.damping else source.shape[0]

    @property
    def input_bytes(self) -> int:
        """Bytes of inputs, uncompressed."""
        return sum(s.nbytes for s in self.sources)

    def read(self, allowed: int, notify: Callback, saves: Saves | None = None) -> Metrics:
        """The norms of all blocks: one pass over each of the inputs, but of those whose factors were saved."""
        factors = []
        for number, source in enumerate(self.sources):
            name = f"inputs {number}"
            if saves is not None and name in saves.values:
                factors.append(saves.values[name])
                continue
            F = read_factor(source, self.damping, allowed, notify)
            factors.append(np.ascontiguousarray(F / np.sqrt(F.shape[0])))
            if saves is not None:
                saves.keep_value(name, factors[-1])
        return Metrics(self.rows, self.columns, tuple(factors), self.acting)

    def digests(self) -> dict[str, Any]:
        """What a run with the same weights has in common with this one."""
        return {
            "row_weights": None if self.rows is None else array_digest(self.rows),
            "column_weights": {name: array_digest(w) for name, w in self.columns.items()},
            "inputs": [source_fingerprint(source) for source in self.sources],
            "acting": dict(self.acting),
        }

    def warnings(self) -> tuple[str, ...]:
        """Inputs too few to see all directions."""
        few = [s for s in self.sources if s.shape[0] < s.shape[1]]
        if not few or self.damping:
            return ()
        return (
            f"{few[0].name} has {few[0].shape[0]:,} samples for {few[0].shape[1]:,} columns: errors in directions that no sample "
            "has count as none. Pass more samples, or damping=0.01.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Metrics:
    """How the error of each block is measured.

    Attributes
    ----------
    rows, columns, acting
        As of `Weights`.
    factors
        Of inputs, ``F* F`` being the mean second moment.
    """

    rows: Real | None = None
    columns: Mapping[str, Real] = field(default_factory=dict)
    factors: tuple[Matrix, ...] = ()
    acting: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> Metric:
        """That of one block."""
        columns = self.columns.get(name)
        inputs = self.factors[self.acting[name]] if name in self.acting else None
        if self.rows is None and columns is None and inputs is None:
            return PLAIN
        return Metric(self.rows, columns, inputs)


NO_WEIGHTS = Weights()
ALIKE = Metrics()
"""All errors count the same."""


def _match_blocks(collection: Collection, given: Any, option: str) -> list[tuple[str, int, Any]]:
    """Name, columns, and what was given for it, of the blocks that anything was given for."""
    if given is None:
        return []
    named = given if isinstance(given, Mapping) else {"*": given}
    named = {str(pattern): value for pattern, value in named.items()}
    names = [m.name for m in collection.members]
    check_used(names, list(named), option)
    out = []
    for m in collection.members:
        pattern = (
            m.name if m.name in named else next((p for p in named if fnmatchcase(m.name, p)), None)
        )
        if pattern is not None:
            out.append((m.name, m.shape[1], named[pattern]))
    return out


def _row_weights(given: Any, collection: Collection) -> Real:
    values = _numbers(
        given, "row_weights", collection.rows, f"the blocks of {collection.name} have", "rows"
    )
    if not (values > 0).all():
        i = int(np.argmin(values))
        raise SpecError(
            f"row_weights is {values[i]:g} at row {i}; a row that counts for nothing has no error. Pass positive weights."
        )
    return np.asarray(np.ldexp(values, -int(np.frexp(values.max(initial=0.0))[1])))


def _column_weights(given: Any, name: str, width: int) -> Real:
    option = "column_weights"
    values = _numbers(given, option, width, f"block {name!r} has", "columns")
    if (values < 0).any():
        i = int(np.argmin(values))
        raise SpecError(
            f"{option} is {values[i]:g} at column {i} of block {name!r}. Pass 0 or more."
        )
    return values


def _numbers(given: Any, option: str, count: int, whose: str, what: str) -> Real:
    values = require_unmasked(given, option)
    if values.dtype.kind not in "biuf":
        raise SpecError(f"{option} is of type {values.dtype}: weights are real numbers.")
    if values.shape != (count,):
        raise ShapeError(
            f"{option} has shape {values.shape}, {whose} {count:,} {what}. Pass one weight for each, ({count},)."
        )
    values = values.astype(np.float64)
    sizes = np.abs(values[values != 0])
    if not np.isfinite(values).all() or (
        sizes.size and not 1 / FAR <= sizes.min() <= sizes.max() <= FAR
    ):
        bad = ~np.isfinite(values) | (
            (values != 0) & ((np.abs(values) > FAR) | (np.abs(values) < 1 / FAR))
        )
        i = int(np.argmax(bad))
        raise SpecError(f"{option} is {values[i]:g} at {i}. Pass finite weights of moderate size.")
    return values
