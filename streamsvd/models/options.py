"""Options of a model, and what a block must agree with before anything is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from streamsvd.checks.masks import masked_cells, require_unmasked
from streamsvd.checks.numbers import check_numbers, check_seed
from streamsvd.errors import ShapeError, SpecError
from streamsvd.models.mathematics.incremental import IncrementalSVD, default_buffer
from streamsvd.options import option
from streamsvd.protocols import Source
from streamsvd.store.versions import ModelSpec

KINDS = {
    "f": "floats",
    "i": "integers",
    "u": "unsigned integers",
    "c": "complex numbers",
    "b": "booleans",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOptions:
    """What `Model.update` may be asked; what a model is made with is a `ModelSpec`."""

    block_id: str | None = option(None, "SOURCE is one block: it enters once under this name.")
    nonfinite: str = option("raise", "What a NaN means; Inf is always an error.")

    def __post_init__(self) -> None:
        name = self.block_id
        if name is not None and (not isinstance(name, str) or not name or name[0] == "@"):
            raise SpecError(
                f"block_id={name!r} is no name of a block. Pass a text that does not begin with @."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What `verify` may be asked."""

    seed: int = option(1, "Of the probes; take another than the run's.")
    delta: float = option(1e-6, "Probability that a fresh upper bound fails.")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_numbers(delta=self.delta)
        if not 0 < self.delta < 1:
            raise SpecError(f"delta={self.delta} is no probability. Pass a number in (0, 1).")


def make_spec(
    *,
    rank: int | None,
    tol: float | None = None,
    buffer: int | None = None,
    max_rank: int = 1000,
    center: bool = False,
    axis: str = "rows",
    forget: float = 1.0,
    window: int | None = None,
    robust: bool = False,
    u: bool = False,
    seed: int = 0,
    delta: float = 1e-6,
) -> ModelSpec:
    """The options, checked.

    Raises
    ------
    SpecError
        If one is out of range or two exclude each other.
    """
    if axis not in ("rows", "columns"):
        raise SpecError(f'axis={axis!r} is unknown. Pass "rows" or "columns", whichever grows.')
    rank, window = _whole("rank", rank), _whole("window", window)
    spec = ModelSpec(
        rank=rank,
        tol=None if tol is None else _real("tol", tol),
        buffer=_whole("buffer", buffer),
        max_rank=_whole("max_rank", max_rank) or 0,
        center=bool(center),
        forget=_real("forget", forget),
        robust=bool(robust),
        seed=_whole("seed", seed) or 0,
        delta=_real("delta", delta),
        axis=axis,  # type: ignore[arg-type]  # checked above
        window=window,
        u=bool(u),
    )
    method_of(spec)
    if window is not None:
        least = rank or 1
        if window < least:
            raise SpecError(
                f"window={window} rows cannot hold rank {least}. Pass window >= {least}, or a smaller rank."
            )
        if u:
            raise SpecError("u=True keeps rows that window= forgets. Leave one of them out.")
    if axis == "columns" and center:
        raise SpecError(
            "center=True subtracts the mean of each column, which new columns do not change. Centre the columns "
            "before, or let rows grow."
        )
    if robust and u:
        raise SpecError(
            "robust=True shrinks the values, for which there is no U. Leave one of them out."
        )
    return spec


def _whole(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise SpecError(f"{name}={value!r} is no whole number.")


def _real(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SpecError(f"{name}={value!r} is no number.") from None


def method_of(spec: ModelSpec) -> IncrementalSVD:
    """The method that the options describe."""
    return IncrementalSVD(
        rank=spec.rank,
        tol=spec.tol,
        buffer=buffer_of(spec),
        max_rank=spec.max_rank,
        center=spec.center,
        forget=spec.forget,
        robust=spec.robust,
        seed=spec.seed,
        delta=spec.delta,
    )


def buffer_of(spec: ModelSpec) -> int | None:
    """Directions that a model keeps beyond its rank; None where that is not settled yet, or a tolerance decides.

    The default is written down with the first block. Models that were begun before it was have none, and go on with
    what it was then.
    """
    if spec.buffer is None and spec.rank is not None and spec.width is not None:
        return max(10, spec.rank)
    return spec.buffer


def fingerprint(names: Sequence[Any] | None) -> str | None:
    """Digest of column names; None for none."""
    if names is None:
        return None
    text = "\x1f".join(str(name) for name in names)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def spec_with_block(spec: ModelSpec, source: Source, names: Sequence[Any] | None) -> ModelSpec:
    """The options with what the first block adds; every later block must agree.

    Raises
    ------
    ShapeError, SpecError
        If the block has another width, another kind of numbers or other columns.
    """
    fixed = source.shape[1] if spec.axis == "rows" else source.shape[0]
    what = "columns" if spec.axis == "rows" else "rows"
    whole = getattr(source, "whole", source)  # names are of all columns, also of those left out
    count = whole.shape[1] if spec.axis == "rows" else whole.shape[0]
    if masked_cells(names) is not None:
        require_unmasked(names, "column_names")
    if names is not None and len(names) != count:
        raise ShapeError(
            f"{len(names)} column names were given for {count} {what}. Pass one for each."
        )
    if spec.width is not None and spec.width != fixed:
        raise ShapeError(
            f"the block has {fixed:,} {what}, the model has {spec.width:,}. Pass a block of {spec.width:,} {what}, "
            "or begin another model."
        )
    if spec.width is None and spec.rank is not None and spec.rank > fixed:
        raise ShapeError(
            f"rank={spec.rank} exceeds the {fixed} {what} of the block. Pass rank <= {fixed}."
        )
    kind = source.dtype.kind
    if spec.kind is not None and spec.kind != kind:
        mixed = "" if "c" in (kind, spec.kind) else ": packed and unpacked values must not be mixed"
        raise SpecError(
            f"the block holds {KINDS.get(kind, kind)}, the model was made of {KINDS.get(spec.kind, spec.kind)}{mixed}. "
            "Unpack or cast the block, or begin another model."
        )
    buffer = spec.buffer
    if spec.width is None and buffer is None and spec.rank is not None:
        buffer = default_buffer(spec.rank, fixed)
    mark = fingerprint(names)
    if spec.columns is not None and mark is not None and spec.columns != mark:
        raise SpecError(
            "the names of the block's columns, or their order, differ from the model's. Put them into the model's "
            "order, or begin another model."
        )
    return msgspec.structs.replace(
        spec, buffer=buffer, width=fixed, kind=spec.kind or kind, columns=spec.columns or mark
    )


def check_same_options(asked: Mapping[str, Any], spec: ModelSpec, keep: int) -> None:
    """Refuse options that contradict an existing model's.

    Raises
    ------
    SpecError
        Naming both values.
    """
    for name, value in asked.items():
        found = keep if name == "keep" else getattr(spec, name)
        if value is not None and value != found:
            made = f"without {name}" if found is None else f"with {name}={found!r}"
            raise SpecError(
                f"{name}={value!r} was asked, the model was made {made}. Leave the option out, or "
                "begin another model."
            )


OPTIONS = (
    "rank", "tol", "buffer", "max_rank", "center", "axis", "forget", "window", "robust", "u", "seed", "delta",
)  # fmt: skip
"""What a caller chooses; the rest of a `ModelSpec` follows from the first block."""


def check_names(options: dict[str, Any]) -> None:
    """Refuse options that models do not have."""
    unknown = set(options) - {*OPTIONS, "keep"}
    if unknown:
        raise SpecError(
            f"{min(unknown)!r} is no option of a model. Pass one of {', '.join(OPTIONS)}."
        )


def change_spec(spec: ModelSpec, asked: dict[str, Any]) -> ModelSpec:
    """The options of a model that has absorbed nothing, some of them chosen anew.

    Raises
    ------
    SpecError
        As `make_spec`.
    """
    return make_spec(**{name: getattr(spec, name) for name in OPTIONS} | asked)
