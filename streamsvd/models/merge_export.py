"""Whole models: joined to one, and written out as plain arrays."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import numpy as np

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.engine.steps import same_records
from streamsvd.errors import ConflictError, SpecError
from streamsvd.models.commit import summarise
from streamsvd.models.model import Model
from streamsvd.models.options import buffer_of, method_of
from streamsvd.models.overlap import refuse_shared
from streamsvd.models.state import ModelState, put_state
from streamsvd.numerics.columns import Columns, describe_columns
from streamsvd.store.results.writer import ResultWriter
from streamsvd.store.writing.files import check_file, write_npz
from streamsvd.store.writing.separation import check_apart
from streamsvd.typing import Real

SAME_OPTIONS = ("rank", "tol", "center", "robust", "axis", "width", "kind", "columns")
ROWS_AT_ONCE = 1 << 16


def merge_models(
    first: str | os.PathLike[str], second: str | os.PathLike[str], out: str | os.PathLike[str]
) -> Model:
    """Join two models that absorbed different rows, as if one had absorbed the rows of both.

    Parameters
    ----------
    first, second
        Models made with the same options, but that they may keep different numbers of directions: the joint one keeps
        the larger. Neither is changed.
    out
        Where the joint model is made. It keeps no left vectors.

    Raises
    ------
    SpecError
        If ``out`` and a model lie in one another; if their options differ, a block is in both, or they forget (the joint
        order is not known).
    StoreError
        If there is something at ``out`` already.
    """
    a, b = Model.open(first), Model.open(second)
    check_apart(out, first, second)
    columns = _shared_columns(a, b)
    for name in SAME_OPTIONS:
        if getattr(a.spec, name) != getattr(b.spec, name):
            raise SpecError(
                f"the models differ in {name}: {getattr(a.spec, name)!r} and {getattr(b.spec, name)!r}. Merge models "
                "made with the same options."
            )
    if (
        a.spec.forget != 1
        or a.spec.window is not None
        or b.spec.forget != 1
        or b.spec.window is not None
    ):
        raise SpecError(
            "models that forget, or slide a window, have an order in time and cannot be merged."
        )
    states = a._held.state, b._held.state
    if any(state is None or state.scale is not None for state in states):
        raise SpecError(
            "a model that has absorbed nothing, or that scales its columns, cannot be merged."
        )
    if not _same_weights(a.column_weights, b.column_weights):
        raise SpecError(
            "the models differ in column_weights. Merge models whose columns are weighted alike."
        )
    if not same_records(*(state.row_steps for state in states if state is not None)):
        raise SpecError(
            "the models were made of rows after other steps, or with other counts. Merge models whose rows went through the same."
        )
    refuse_shared(a._held, b._held)
    kept = [buffer for buffer in (buffer_of(a.spec), buffer_of(b.spec)) if buffer is not None]
    spec = msgspec.structs.replace(a.spec, u=False, buffer=max(kept, default=None))
    method = method_of(spec)
    first_state, second_state = a._known_state(), b._known_state()
    one, other = first_state.factor, second_state.factor
    factor = method.keep_signs(method.merge(one, other), one)
    model = Model.create(
        out, spec.rank, tol=spec.tol, buffer=spec.buffer, max_rank=spec.max_rank, center=spec.center,
        axis=spec.axis, robust=spec.robust, seed=spec.seed, delta=spec.delta, column_weights=a.column_weights,
    )  # fmt: skip
    store = model._held.store
    draft = store.draft(1)
    shift = a.n_rows
    entries = [
        msgspec.structs.replace(e, version=1, folder=draft.folder, files={}) for e in a.blocks
    ] + [
        msgspec.structs.replace(
            e, start=e.start + shift, stop=e.stop + shift, version=1, folder=draft.folder, files={}
        )
        for e in b.blocks
    ]
    state = ModelState(
        factor, None, columns=columns, weights=first_state.weights, labels=first_state.labels,
        row_steps=first_state.row_steps,
    )  # fmt: skip
    record, nodes = put_state(draft, state, None)
    done = store.commit(
        draft,
        kind="merge",
        spec=spec,
        parent=None,
        factor=record,
        nodes=nodes,
        first=0,
        n_rows=a.n_rows + b.n_rows,
        added=entries,
        summary=summarise(method, first_state.factor, factor, entries[-1:], a.n_rows + b.n_rows),
        keep=model._held.settings.keep,
    )
    if done is None:
        raise ConflictError(
            f"{store.name} was written by someone else meanwhile. Choose another place."
        )
    return Model.open(out)


def _same_weights(first: Real | None, second: Real | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _shared_columns(a: Model, b: Model) -> Columns | None:
    """The columns that both models keep.

    Raises
    ------
    SpecError
        If they keep different ones.
    """
    mine, its = (set(model.dropped_columns) for model in (a, b))
    if mine != its:
        raise SpecError(
            f"the models leave different columns out: {describe_columns(sorted(mine ^ its))} {'is' if len(mine ^ its) == 1 else 'are'} "
            "left out of one of them alone. Merge models of the same columns: make both with the same mask=."
        )
    if a.columns is None or b.columns is None:
        return None
    return Columns(np.maximum(a.columns.marks, b.columns.marks))


def export_model(
    model: Model, out: str | os.PathLike[str], *, overwrite: bool = False
) -> PathOrUrl:
    """Write the factors of a model as plain arrays.

    Parameters
    ----------
    model
        The model, at any version.
    out
        A ``.npz`` file, or a folder for a zarr group as `svd` writes it.
    overwrite
        Replace what is there.

    Raises
    ------
    SpecError
        If ``out`` and the model lie in one another.
    StoreError
        If there is something at ``out`` and it may not be replaced.
    """
    path = place_of(out, "out")
    check_apart(path, model._held.store.objects)
    if path.suffix == ".npz":
        check_file(path, overwrite=overwrite)
    if model.spec.axis == "columns" and not model.spec.u:
        return _export_left(model, path, overwrite=overwrite)
    result = model.as_svd()
    if path.suffix != ".npz":
        return ResultWriter(path, overwrite=overwrite).commit(result, source=repr(model))
    arrays: dict[str, Any] = {
        "s": result.s,
        "Vh": result.Vh,
        "mean": result.mean,
        "scale": result.scale,
    }
    if result.U is not None:
        arrays["U"] = np.asarray(result.U)
    return _write_arrays(path, arrays, overwrite=overwrite)


def _export_left(model: Model, path: PathOrUrl, *, overwrite: bool) -> PathOrUrl:
    """What is known of columns whose own vectors are not kept."""
    if path.suffix != ".npz":
        raise SpecError(
            "the right vectors of the columns are not kept: only values and left vectors can be exported, to a .npz "
            "file. Create the model with u=True to keep them."
        )
    return _write_arrays(path, {"s": model.s, "U": model.U}, overwrite=overwrite)


def _write_arrays(path: PathOrUrl, arrays: dict[str, Any], *, overwrite: bool) -> PathOrUrl:
    """A ``.npz`` file that is there whole or not at all."""
    write_npz(path, {k: v for k, v in arrays.items() if v is not None}, overwrite=overwrite)
    return path
