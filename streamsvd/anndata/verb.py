"""The verb `pca` of annotated matrices."""

from __future__ import annotations

import os
from typing import Any

from streamsvd.anndata.matrices import UNSET, matrix_name, stored_mask, variable_mask
from streamsvd.engine.opening import open
from streamsvd.errors import ShapeError
from streamsvd.factor.exports.cells import CellKeys, check_annotated, fill_annotations
from streamsvd.factor.pca import pca as principal_components
from streamsvd.factor.result import SVD
from streamsvd.factor.svd import svd

N_COMPS = 50
"""Components where nothing says how many, as in scanpy."""


def pca(
    adata: Any,
    n_comps: int | None = None,
    *,
    layer: str | None = None,
    zero_center: bool = True,
    mask_var: Any = UNSET,
    use_highly_variable: bool | None = None,
    key_added: str | None = None,
    copy: bool = False,
    memory: int | str | None = None,
    tol: float | None = None,
    **options: Any,
) -> Any:
    """Principal components of an AnnData object, filled in as ``scanpy.pp.pca`` does, or of a file of AnnData.

    Parameters
    ----------
    adata
        An AnnData object, its matrix dense or sparse; or the path of an ``.h5ad`` file or a zarr store, which is read in passes and left
        as it is.
    n_comps
        Components wanted. Left out, 50, or one less than the smaller extent if that is not above 50.
    layer
        The layer to take instead of ``X``.
    zero_center
        Subtract the mean of each variable. Without it variances are mean squares about zero.
    mask_var, use_highly_variable
        Which variables take part: a column of ``var``, booleans, or None for all. Left out, ``var["highly_variable"]`` where
        there is one.
    key_added
        One name for what is added, instead of ``X_pca``, ``PCs`` and ``pca``.
    copy
        Fill a copy and return it.
    memory, tol
        As of `streamsvd.pca`.
    **options
        Further ones of `streamsvd.pca`, such as ``scale``, ``nonfinite`` or ``seed``.

    Returns
    -------
    filled
        Of an object None, or with ``copy`` the copy: ``obsm["X_pca"]``, ``varm["PCs"]``, ``uns["pca"]``. Of a path the result, whose
        `to_anndata` fills an object that is read later.

    Raises
    ------
    SpecError
        If ``adata`` is nothing of the kind, or a layer or a column is absent.
    ShapeError
        If a mask has another length, or there are fewer components than asked.
    NotConverged, BudgetError
        As `streamsvd.pca`.

    Notes
    -----
    Cost: that of `streamsvd.pca` with ``u=True``. Components agree with scanpy's up to their sign, which here is that the entry of
    largest modulus is positive.
    """
    options = {"u": True, "memory": memory, "tol": tol, **options}
    if isinstance(adata, str | os.PathLike):
        return _of_path(adata, n_comps, layer, zero_center, mask_var, use_highly_variable, options)
    check_annotated(adata)
    noted, kept = variable_mask(adata, mask_var, use_highly_variable)
    source = open(adata, variable=matrix_name(layer))
    wanted = _count(n_comps, source.shape[0], source.shape[1] if kept is None else int(kept.sum()))
    verb = principal_components if zero_center else svd
    found: SVD = verb(source, wanted, mask=kept, **options)
    target = adata.copy() if copy else adata
    fill_annotations(found, target, CellKeys(key_added, layer, noted))
    return target if copy else None


def _of_path(
    path: Any, n_comps: int | None, layer: str | None, zero_center: bool, mask_var: Any, highly: bool | None,
    options: dict[str, Any],
) -> SVD:  # fmt: skip
    """The result of a file of AnnData."""
    source = open(path, variable=matrix_name(layer))
    kept = stored_mask(source, mask_var, highly)
    wanted = _count(n_comps, source.shape[0], source.shape[1] if kept is None else int(kept.sum()))
    verb = principal_components if zero_center else svd
    found: SVD = verb(source, wanted, mask=kept, **options)
    return found


def _count(n_comps: int | None, n_obs: int, n_vars: int) -> int:
    """Components wanted.

    Raises
    ------
    ShapeError
        If there are not so many.
    """
    most = min(n_obs, n_vars)
    if n_comps is None:
        return max(1, most - 1) if most <= N_COMPS else N_COMPS
    if not 1 <= n_comps <= most:
        raise ShapeError(
            f"n_comps={n_comps} is asked of {n_obs:,} observations of {n_vars:,} variables that take part, which have {most:,}. "
            f"Pass 1 <= n_comps <= {most}."
        )
    return n_comps
