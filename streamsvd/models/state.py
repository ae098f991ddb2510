"""What a version holds in memory, and how it goes to the store and comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import numpy as np

from streamsvd.checks.sizes import check_magnitude
from streamsvd.errors import SpecError
from streamsvd.factor.result import SVD
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.models.labels import pack_labels, pack_record, unpack_labels, unpack_record
from streamsvd.models.mathematics.forest import FactorLoader, Forest
from streamsvd.models.mathematics.incremental import IncrementalSVD
from streamsvd.numerics.certificate import Kind
from streamsvd.numerics.columns import Columns, describe_columns
from streamsvd.numerics.ledger import Factor, Ledger
from streamsvd.numerics.step_records import RowStepRecord, RowStepRecords
from streamsvd.store.versions import (
    Draft,
    FactorRecord,
    LedgerRecord,
    Manifest,
    ModelSpec,
    ModelStore,
)
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class ModelState:
    """Everything that the next block is absorbed into.

    Attributes
    ----------
    factor
        Of all rows held.
    forest
        Factors of single blocks and their unions, where a window slides; None for a chain.
    sizes
        Rows of each block in the window, oldest first.
    scale
        Fixed factor of each column, ``(n,)``, one over what the batch result that the model extends divides by; None for ones.
    weights
        Weight of each column, ``(n,)``; None for ones.
    columns
        Which columns of the blocks are kept, those of everything else here; None for all.
    labels
        What the first block said of all its columns.
    row_steps
        What was done to the rows of the first block before: blocks that come later go through the same.
    """

    factor: Factor
    forest: Forest | None
    sizes: tuple[int, ...] = ()
    scale: Real | None = None
    columns: Columns | None = None
    labels: Labels = NO_LABELS
    weights: Real | None = None
    row_steps: tuple[RowStepRecord, ...] = ()

    @property
    def raw_mean(self) -> Matrix | None:
        """Mean of the rows in the units of the data; zero where a column is left out."""
        mean, factors = self.factor.mean, self.column_factors
        if mean is None or factors is None:
            return mean
        return np.divide(mean, factors, out=np.zeros_like(mean), where=factors > 0)

    @property
    def column_factors(self) -> Real | None:
        """By what each column of a block is multiplied, ``(n,)``: scale and weight; None for ones."""
        if self.scale is None or self.weights is None:
            return self.scale if self.weights is None else self.weights
        return self.scale * self.weights

    def blank(self, rows: Matrix) -> Matrix:
        """A block with 0 in the columns of weight 0; itself where there are none."""
        if self.weights is None or self.weights.all():
            return rows
        return np.asarray(np.where(self.weights > 0, rows, rows.dtype.type(0)))

    def slide(self, method: IncrementalSVD, block: Factor, window: int) -> ModelState:
        """The state of the newest blocks that hold ``window`` rows, or all while there are fewer."""
        assert self.forest is not None
        forest = self.forest.with_block(method, block)
        sizes = [*self.sizes, block.n_rows]
        while sum(sizes) - sizes[0] >= window:
            sizes.pop(0)
        forest = forest.from_block(forest.stop - len(sizes))
        factor = method.keep_signs(forest.factor(method), self.factor)
        return replace(self, factor=factor, forest=forest, sizes=tuple(sizes))


def empty_state(method: IncrementalSVD, spec: ModelSpec, like: np.dtype[Any]) -> ModelState:
    """The state before the first block."""
    assert spec.width is not None
    factor = method.init(spec.width, like=np.zeros(0, dtype=like))
    return ModelState(factor, Forest() if spec.window is not None else None)


def state_of_result(result: SVD, columns: Columns | None = None) -> ModelState:
    """The state that a certified batch result stands for.

    ``D = B - V diag(sigma_lower^2) V*`` is above ``-deficit``. Its trace is the energy less the lower squares: the square
    of the error reported, but for the ``gap`` of the rounding of the energy, and of lower ends that were proved with other
    vectors. With k values, on the span of V its trace is at most ``spread = sum(sigma_upper^2 - sigma_lower^2)`` (Ky Fan), its
    norm so at most ``spread + k deficit``. Outside, D is B, with the square of the spectral error as its norm; where no such
    error is known, ``spread + k deficit`` and the next eigenvalue. The norm of D is at most the sum of both (of ``D + deficit``,
    which is semidefinite); and at most its trace and k deficits, for D has no more than k negative eigenvalues. The energy
    kept is the true one and up to two gaps more, which the best error must not gain by: they count as norm. Values of which
    nothing is proved stay as zeros, beside their left vectors.
    """
    c = result.certificate
    squares = c.sigma_lower**2
    discarded = c.frobenius_error**2
    spread = float(np.sum(c.sigma_upper**2) - np.sum(squares))
    m, n = result.info.n_rows, result.Vh.shape[1]
    inside = spread + squares.size * c.deficit
    outside = min(c.spectral_error**2, inside + float(c.sigma_upper[-1] ** 2))
    gap = max(discarded - max(c.energy - float(np.sum(squares)), 0.0), 0.0)
    ledger = Ledger(
        energy=float(np.sum(squares)) + discarded,
        discarded=discarded,
        discarded_norm=min(inside + outside, discarded + squares.size * c.deficit) + 2 * gap,
        truncations=1,
        height=m + n,
        failure=c.failure_probability,
        proved=c.kind is Kind.BOUNDS,
        deficit=c.deficit,
    )
    scale = (
        None
        if result.scale is None
        else np.divide(1.0, result.scale, out=np.zeros_like(result.scale), where=result.scale > 0)
    )
    weights = result.preparation.get("column_weights")
    factor = Factor(c.sigma_lower, result.Vh, None, float(m), m, ledger)
    labels = result.labels.of_columns
    state = ModelState(
        factor, None, scale=scale, columns=columns, labels=labels, weights=weights, row_steps=result.row_steps
    )  # fmt: skip
    if result.mean is None:
        return state
    factors = state.column_factors
    mean = result.mean if factors is None else result.mean * factors
    return replace(state, factor=replace(factor, mean=mean))


def narrow_result(result: SVD, columns: Columns) -> SVD:
    """A result of the columns that were kept alone."""
    places = np.cumsum(columns.keep_mask) - 1
    dropped = tuple(int(places[j]) for j in result.info.dropped_columns if columns.keep_mask[j])
    preparation, weights = result.preparation, result.preparation.get("column_weights")
    if weights is not None:
        preparation = preparation | {"column_weights": columns.take(weights)}
    return replace(
        result,
        preparation=preparation,
        Vh=columns.take(result.Vh),
        mean=None if result.mean is None else columns.take(result.mean),
        scale=None if result.scale is None else columns.take(result.scale),
        info=replace(result.info, dropped_columns=dropped),
    )


def kept_columns(result: SVD) -> Columns | None:
    """Which columns a batch result kept; None for all."""
    marks = result.preparation.get("columns")
    return None if marks is None else Columns(marks)


def refuse_base(result: SVD) -> None:
    """Refuse batch results that no block can be added to.

    Raises
    ------
    SpecError
        If rows were weighted, or missing values were replaced by what is no longer known.
    """
    if result.info.status.value == "interrupted":
        raise SpecError("the result was interrupted; run svd to its end before updating it.")
    if result.preparation.get("row_weights") is not None:
        raise SpecError(
            "the result was made with row_weights, which new rows do not have. Weight the data, or begin a model with "
            "streamsvd.Model.create."
        )
    absent = np.isnan(result.Vh[0])
    if (weights := result.preparation.get("column_weights")) is not None:
        absent |= weights == 0  # no more is known of later rows there
    gone = np.flatnonzero(~absent[list(result.info.dropped_columns)])
    if gone.size:  # those that are NaN are no part of the result, and of no model of it
        dropped = np.asarray(result.info.dropped_columns)[gone]
        raise SpecError(
            f"the result left columns out for their missing values, or as constant under scale=True ({describe_columns(dropped)}). Run "
            "svd with another nonfinite=, or with a mask= that is false there, before updating it."
        )


# To the store and back ---------------------------------------------------------------------------------


def pack_factor(factor: Factor) -> Matrix:
    """A factor as one array: values, mean and right vectors by rows."""
    n = factor.Vh.shape[1]
    out = np.zeros((factor.s.size + 2, n), dtype=factor.Vh.dtype)
    out[0, : factor.s.size] = factor.s
    if factor.mean is not None:
        out[1] = factor.mean
    out[2:] = factor.Vh
    return out


def unpack_factor(array: Matrix, record: FactorRecord, *, center: bool) -> Factor:
    """The factor again."""
    count = array.shape[0] - 2
    s = np.real(array[0, :count]).copy()
    return factor_from_record(s, array[2:].copy(), array[1].copy() if center else None, record)


def factor_from_record(s: Real, Vh: Matrix, mean: Matrix | None, record: FactorRecord) -> Factor:
    """A factor of its arrays and its record."""
    ledger = Ledger(**msgspec.structs.asdict(record.ledger))
    return Factor(s, Vh, mean, record.weight, record.n_rows, ledger)


def factor_record(factor: Factor, prefix: str) -> FactorRecord:
    """What of a factor is not an array."""
    ledger = factor.ledger
    fields = {name: getattr(ledger, name) for name in LedgerRecord.__struct_fields__}
    fields = {k: v.item() if isinstance(v, np.generic) else v for k, v in fields.items()}
    return FactorRecord(prefix, float(factor.weight), factor.n_rows, LedgerRecord(**fields))


def node_name(key: tuple[int, int]) -> str:
    """Name of the array of a node."""
    return f"node-{key[0]}-{key[1]}"


def put_state(
    draft: Draft, state: ModelState, parent: Manifest | None
) -> tuple[FactorRecord, dict[str, FactorRecord]]:
    """Put the arrays of a state into a draft; nodes that the parent has stay where they are."""
    factor = state.factor
    arrays = {"s": factor.s, "Vh": factor.Vh}
    if factor.mean is not None:
        arrays["mean"] = factor.mean
    draft.add(arrays)
    for name, values in _fixed_arrays(state).items():
        if parent is not None and name in parent.arrays:
            draft.keep(parent, [name])
        else:
            draft.add({name: values()})
    nodes: dict[str, FactorRecord] = {}
    if state.forest is not None:
        for key, load in state.forest.nodes.items():
            name = node_name(key)
            if parent is not None and name in parent.arrays:
                nodes[name] = parent.nodes[name]
                draft.keep(parent, [name])
            else:
                node = load()
                nodes[name] = factor_record(node, name)
                draft.add({name: pack_factor(node)})
    return factor_record(factor, ""), nodes


def _fixed_arrays(state: ModelState) -> dict[str, Callable[[], Matrix]]:
    """Arrays that are the same in all versions, as far as there are any."""
    found: dict[str, Callable[[], Matrix]] = {}
    for name, values in (("scale", state.scale), ("weights", state.weights)):
        if values is not None:
            found[name] = partial(np.asarray, values)
    if (columns := state.columns) is not None:
        found["columns"] = lambda: columns.marks
    if state.labels.columns:
        found["labels"] = partial(pack_labels, state.labels)
    if state.row_steps:
        found["steps"] = partial(pack_record, RowStepRecords(state.row_steps))
    return found


def load_state(store: ModelStore, manifest: Manifest) -> ModelState:
    """The state of a version, every object of it checked."""

    def array(name: str) -> Matrix:
        return store.array(manifest.arrays[name], manifest.files)

    center = manifest.spec.center
    factor = factor_from_record(
        array("s"), array("Vh"), array("mean") if center else None, manifest.factor
    )
    scale = array("scale") if "scale" in manifest.arrays else None
    columns = Columns(array("columns")) if "columns" in manifest.arrays else None
    labels = unpack_labels(array("labels")) if "labels" in manifest.arrays else NO_LABELS
    weights = array("weights") if "weights" in manifest.arrays else None
    steps = RowStepRecords()
    if "steps" in manifest.arrays:
        steps = unpack_record(array("steps"), RowStepRecords, "steps")
    state = ModelState(
        factor, None, scale=scale, columns=columns, labels=labels, weights=weights, row_steps=steps.steps
    )  # fmt: skip
    return with_stored_nodes(store, manifest, state)


def with_stored_nodes(store: ModelStore, manifest: Manifest, state: ModelState) -> ModelState:
    """The state with all nodes of its window in the store, to be read when they are needed."""
    if manifest.spec.window is None:
        return state

    def loader(name: str, record: FactorRecord) -> FactorLoader:
        def load() -> Factor:
            array = store.array(manifest.arrays[name], manifest.files)
            return unpack_factor(array, record, center=manifest.spec.center)

        return load

    nodes, leaves = {}, {}
    for name, record in manifest.nodes.items():
        level, index = (int(part) for part in name.split("-")[1:])
        nodes[level, index] = loader(name, record)
        if level == 0:
            leaves[index] = record.n_rows
    forest = Forest(manifest.first, manifest.first + len(leaves), nodes)
    return replace(state, forest=forest, sizes=tuple(leaves[i] for i in sorted(leaves)))


def check_result(result: SVD, name: str) -> None:
    """The same of a batch result, which is exact for any size: what goes on from it is not.

    ``s_1 / sqrt(m n)`` is no larger than the largest entry.

    Raises
    ------
    SpecError
        With the size and the remedy.
    """
    m, n = result.info.n_rows, result.Vh.shape[1]
    check_magnitude(float(result.s[0]) / np.sqrt(m * n) if result.s.size else 0.0, name)
