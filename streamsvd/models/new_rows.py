"""What is new: the rows of a source that a model has not absorbed, or why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from streamsvd.engine.columns import PIECE_BYTES, View, unread_view
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.events import Callback
from streamsvd.engine.steps import steps_of, take_same_steps
from streamsvd.errors import ShapeError, SpecError
from streamsvd.factor.alignment import check_columns
from streamsvd.models.block_reader import BlockReader
from streamsvd.models.columns import (
    block_view,
    check_width,
    first_mask,
    first_view,
    known_view,
    refuse_mask_of_columns,
)
from streamsvd.models.cut import BlockCut, plan_cut
from streamsvd.models.loaded_version import LoadedVersion
from streamsvd.models.options import UpdateOptions, check_same_options, method_of, spec_with_block
from streamsvd.models.policies import check_block_policy
from streamsvd.models.weights import (
    check_same_weights,
    first_weights,
    refuse_weights_of_columns,
)
from streamsvd.numerics.row_steps import texts_of
from streamsvd.numerics.support import Support
from streamsvd.protocols import Source
from streamsvd.store.sources.views.adjusted import stored_rows
from streamsvd.store.sources.views.kept_columns import KeptColumns
from streamsvd.store.versions import ModelSpec
from streamsvd.typing import Real

REMEDY = "Pass blocks with the columns of the model, in its order."


@dataclass(frozen=True, slots=True, eq=False)
class UpdateRequest:
    """One call of `Model.update`.

    Attributes
    ----------
    source
        What was sent.
    grows
        Whether it is a matrix that grows, of which the rows beyond those absorbed are taken; else it is one block.
    options
        What was asked.
    mask, column_names, column_weights
        Columns to keep, their names, and by what they are multiplied.
    budget
        Bytes.
    model_options
        Options of the model that the caller named.
    has_free_rank
        Whether the rank is the default, which the columns that are kept may lower.
    """

    source: Source
    grows: bool
    options: UpdateOptions
    mask: Any
    column_names: Sequence[Any] | None
    budget: int
    model_options: Mapping[str, Any]
    has_free_rank: bool = False
    column_weights: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class NewRows:
    """What a look at the source found.

    Attributes
    ----------
    spec
        Options of the model, with what the block adds to them.
    view
        The source as the model sees it.
    reader
        Reads what is new; None where nothing is.
    skip_reason
        Why nothing is.
    bytes_read, passes
        Decoded bytes, and passes over all of the source, that were read to know that.
    weights
        Of the columns that are kept, if this is the first block.
    """

    spec: ModelSpec
    view: View
    reader: BlockReader | None
    skip_reason: str = ""
    bytes_read: int = 0
    passes: int = 0
    weights: Real | None = None


def find_new_rows(
    version: LoadedVersion, request: UpdateRequest, notify: Callback, *, number: int = 1
) -> NewRows:
    """What of the source is new to this version of the model.

    A block that the model has by name is read to compare it: a pass of the number given.

    Raises
    ------
    ShapeError, SpecError
        If the source, its name or the options do not agree with the model.
    BudgetError
        If not one row fits in the memory.
    """
    request = _with_steps(version, request)
    check_request(version, request)
    weights = _weights(version, request)
    view = _view(version, request, weights, notify)
    weights = view.take(weights)
    spec, cut = _cut(version, request, view, weights)
    source, length = view.source, _length(view.source, spec)
    whole = BlockReader(source, spec.axis, 0, length, cut)
    if length == 0:
        return NewRows(spec, view, None, "nothing new")
    if request.options.block_id is not None:
        known = version.ids.get(request.options.block_id)
        if known is None:
            return NewRows(spec, view, whole, weights=weights)
        if known.digest != whole.whole_digest(notify, number):
            raise SpecError(
                f"block {request.options.block_id!r} is in the model with other content. Send it under another id, or roll "
                f"back to before version {known.version}."
            )
        return NewRows(spec, view, None, "known", whole.bytes_read, passes=1)
    if not request.grows:
        return NewRows(spec, view, whole, weights=weights)
    check_growth(version, source, spec)
    seen = version.n_rows
    last = version.blocks[-1] if version.blocks else None
    if last is not None and whole.seam(seen - 1) != last.seam:
        raise SpecError(
            f"row {seen - 1:,} of {source.name} is not the last one that the model absorbed. Pass the array that "
            "grows, or name a separate block with block_id= (--block-id)."
        )
    # Rows that are still to be written are zeros, also where a column is left out.
    bare = replace(source, refuses_values=False) if isinstance(source, KeptColumns) else source
    search = BlockReader(stored_rows(bare), spec.axis, 0, length, cut)
    stop = search.find_written_end(seen)
    looked = whole.bytes_read + search.bytes_read
    if stop == seen:
        return NewRows(spec, view, None, "nothing new", looked)
    reader = BlockReader(source, spec.axis, seen, stop, cut)
    return NewRows(spec, view, reader, bytes_read=looked, weights=weights)


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedRows:
    """What an update will find new, as far as it is known without reading anything.

    Attributes
    ----------
    spec
        Options of the model, with what the block adds to them.
    reader
        Reads all rows that may be new.
    is_known
        Whether the model has a block of this name: then all of it is read to compare.
    looks
        Whether columns that have no value are looked for first.
    """

    spec: ModelSpec
    reader: BlockReader
    is_known: bool
    looks: bool


def expect_new_rows(version: LoadedVersion, request: UpdateRequest) -> ExpectedRows:
    """The rows that an update would take, from shapes and names alone; raises as `find_new_rows`."""
    request = _with_steps(version, request)
    check_request(version, request)
    weights = _weights(version, request)
    view = _unread_view(version, request)
    spec, cut = _cut(version, request, view, weights)
    length, start = _length(view.source, spec), 0
    if request.grows:
        check_growth(version, view.source, spec)
        start = version.n_rows
    reader = BlockReader(view.source, spec.axis, start, length, cut)
    looks = version.state is None and spec.axis == "rows" and view.searched_for_empty
    return ExpectedRows(spec, reader, request.options.block_id in version.ids, looks)


def _with_steps(version: LoadedVersion, request: UpdateRequest) -> UpdateRequest:
    """The same, of rows after the steps of those that the model has.

    Raises
    ------
    SpecError
        If they had other steps; or any, where columns arrive.
    """
    steps = steps_of(request.source)
    if version.spec.axis == "columns" and steps:
        raise SpecError(
            f"{request.source.name} has had {texts_of(steps)}, which are of whole rows, and the model grows by columns. Let rows grow, "
            "or write the matrix with its steps before."
        )
    if version.state is None or not version.state.row_steps:
        return request
    source = take_same_steps(request.source, version.state.row_steps, "the model")
    return replace(request, source=source)


def check_request(version: LoadedVersion, request: UpdateRequest) -> None:
    """Refuse what the model was not made for, before anything is read.

    Raises
    ------
    SpecError
        It names what was asked and what the model has.
    """
    check_same_options(request.model_options, version.spec, version.settings.keep)
    check_block_policy(request.options.nonfinite, version.spec)
    refuse_mask_of_columns(request.mask, version.spec)
    if version.state is not None and version.state.labels.columns:
        check_columns(version.state.labels, request.source, "the model", REMEDY)
    refuse_weights_of_columns(request.column_weights, version.spec)


def check_growth(version: LoadedVersion, source: Source, spec: ModelSpec) -> None:
    """Refuse a matrix that is shorter than what was absorbed.

    Raises
    ------
    ShapeError
        It names both lengths.
    """
    length, seen = _length(source, spec), version.n_rows
    if length < seen:
        raise ShapeError(
            f"{source.name} has {length:,} {spec.axis}, the model has absorbed {seen:,}. Pass the array that grows, or "
            "name a separate block with block_id= (--block-id)."
        )


def lower_rank(version: LoadedVersion, most: int) -> None:
    """A default rank of a model that has absorbed nothing, no more than the columns that are kept."""
    spec = version.settings.spec
    if spec.rank is not None and spec.rank > most:
        spec = msgspec.structs.replace(spec, rank=most)
        version.settings = msgspec.structs.replace(version.settings, spec=spec)


def _length(source: Source, spec: ModelSpec) -> int:
    """Extent that grows."""
    return source.shape[0 if spec.axis == "rows" else 1]


def _weights(version: LoadedVersion, request: UpdateRequest) -> Real | None:
    """Weights of all columns of a first block; None of later ones, which must agree."""
    source, spec, state = request.source, version.spec, version.state
    if state is None:
        return first_weights(source, version.settings.column_weights, request.column_weights)
    if request.column_weights is not None:
        check_width(source, spec.width if state.columns is None else state.columns.count)
        check_same_weights(source, request.column_weights, state)
    return None


def _view(
    version: LoadedVersion, request: UpdateRequest, weights: Real | None, notify: Callback
) -> View:
    """The source as the model sees it: without the columns that its first block had no value in, or that a mask left out."""
    source, spec = request.source, version.spec
    if spec.axis == "columns":
        return View(source, source, None, 0, True)
    if version.state is not None:
        return known_view(source, spec, version.state.columns, request.mask)
    mask = first_mask(source, version.settings.mask, request.mask)
    tolerant, stop = request.options.nonfinite != "raise", source.shape[0]
    if request.grows and (tolerant or mask is not None):
        height = max(1, PIECE_BYTES // max(1, source.shape[1] * source.dtype.itemsize))
        cut = BlockCut(height, height, False, 0)
        stop = BlockReader(stored_rows(source), "rows", 0, stop, cut).find_written_end(0)
    counted = Support.of(None, weights)
    return first_view(source, mask, stop, tolerant=tolerant, notify=notify, counted=counted)


def _unread_view(version: LoadedVersion, request: UpdateRequest) -> View:
    """The same as far as it is known without reading."""
    source, spec = request.source, version.spec
    if spec.axis == "columns":
        return View(source, source, None, 0, True)
    if version.state is not None:
        return known_view(source, spec, version.state.columns, request.mask)
    mask = first_mask(source, version.settings.mask, request.mask)
    return block_view(unread_view(source, mask, tolerant=request.options.nonfinite != "raise"))


def _copies(source: Source, factors: Real | None) -> int:
    """Bytes of an entry in copies of a block: multiplied, in double precision, and without what does not count."""
    if factors is None:
        return 0
    wide = 16 if source.dtype.kind == "c" else 8
    return wide + (0 if factors.all() else source.dtype.itemsize)


def _cut(
    version: LoadedVersion, request: UpdateRequest, view: View, weights: Real | None
) -> tuple[ModelSpec, BlockCut]:
    """The options with what the block adds, and the cut of what may be new."""
    source = view.source
    if request.has_free_rank and view.columns is not None and version.state is None:
        lower_rank(version, source.shape[1])
    spec = spec_with_block(version.spec, source, request.column_names)
    length = _length(source, spec)
    new = length - version.n_rows if request.grows else length
    kept = method_of(spec).width_for(spec.width or 0)
    state = version.state
    threads, factors = concurrency()[1], weights if state is None else state.column_factors
    cut = plan_cut(
        source, spec, max(new, 1), kept, request.budget, threads, _copies(source, factors), grows=request.grows
    )  # fmt: skip
    return spec, cut
