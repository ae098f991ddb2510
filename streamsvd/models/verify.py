"""A stored result held against its source again: one pass, fresh probes, and what does not agree."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamsvd.checks.paths import place_of
from streamsvd.engine.columns import View, kept_source
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.steps import take_same_steps
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.factor.assessment import assess_krylov
from streamsvd.factor.factors import product_scale
from streamsvd.factor.iteration import Iteration
from streamsvd.factor.plan import Plan
from streamsvd.factor.problem import MatrixOptions, matrix_options
from streamsvd.factor.result import SVD
from streamsvd.factor.sample import Pilot, power_of_two
from streamsvd.factor.session import Session
from streamsvd.factor.svd import plan_svd
from streamsvd.factor.terms import terms_from_pilot
from streamsvd.info import Info, Status
from streamsvd.models import Model
from streamsvd.models.options import VerifyOptions
from streamsvd.models.state import kept_columns, narrow_result
from streamsvd.numerics import krylov
from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.store.objects import objects_at
from streamsvd.store.results.reader import read_result
from streamsvd.store.results.saving import Result
from streamsvd.store.versions import is_model
from streamsvd.typing import Matrix

REMEDY = "The result was made of a matrix that had none there: pass that matrix, or make the result again of this one."
MODEL_REMEDY = (
    "A model does not hold what it made of NaN. Verify its objects alone, without a source."
)

SLACK = 1e-6
"""Relative disagreement that rounding of the stored factors to their type explains."""


@dataclass(frozen=True, slots=True, eq=False)
class Verification(Result):
    """What one more pass says of a stored result.

    Attributes
    ----------
    agrees
        Whether nothing contradicts the stored certificate.
    findings
        One sentence for each contradiction.
    certificate
        What the one pass proves of the stored ``Vh`` by itself; its upper ends are wider than those of the
        run that made it, which had more passes.
    stored_certificate
        The certificate as stored.
    options, info
        What was asked, and how it came about.
    """

    agrees: bool
    findings: tuple[str, ...]
    certificate: Certificate
    stored_certificate: Certificate
    options: VerifyOptions
    info: Info

    def __repr__(self) -> str:
        found = "agrees" if self.agrees else f"contradicted: {'; '.join(self.findings)}"
        return f"<Verification: {found}, {self.info.cost}>"


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """A stored result beside the matrix that it is held against, of the columns that it kept.

    Attributes
    ----------
    result, view
        Of those columns.
    matrix, plan
        The options that the result was made with, and how the one pass is made.
    has_policy
        Whether the result says what a NaN is.
    """

    result: SVD
    view: View
    matrix: MatrixOptions
    plan: Plan
    has_policy: bool


def verify(
    path: str | os.PathLike[str],
    A: Any,
    *,
    memory: int | str | None = None,
    seed: int = 1,
    delta: float = 1e-6,
    callback: Callback = ignore_event,
) -> Verification:
    """Certify a stored result anew against its source, in one pass.

    The mask, the weights, the steps of rows and the policy for missing values are those that the result was made with: others would make
    another matrix.

    Parameters
    ----------
    path
        Folder that `svd`, `pca` or `cells` wrote, or a model.
    A
        The matrix, or anything `streamsvd.open` takes.
    memory
        As in `svd`.
    seed
        Of the probes; another one than the run's makes the statement independent of it.
    delta
        Probability that the fresh upper bounds may fail.
    callback
        Receives progress events.

    Returns
    -------
    verification
        Every claim that the pass contradicts, by name.

    Raises
    ------
    StoreError
        If the path holds no result, or one that is damaged.
    ShapeError
        If the matrix has other columns than the result.
    NonFiniteError
        If there is an Inf, or a NaN that the policy stored with the result does not allow.

    Notes
    -----
    Cost: one pass, and another where missing values are given the mean; one read of ``U`` where it is stored.
    """
    asked = VerifyOptions(seed=seed, delta=delta)
    comparison = _prepare_comparison(path, A, memory)
    result, view, matrix, plan = (
        comparison.result,
        comparison.view,
        comparison.matrix,
        comparison.plan,
    )
    source, (k, n), stored = view.source, result.Vh.shape, result.certificate
    options = replace(plan.options, tol=stored.tol, delta=delta, seed=seed)
    session = Session(source, plan, matrix, options, callback)
    entries = source.shape[0] * n
    size = 1.0 if matrix.scale else stored.frobenius_norm / float(np.sqrt(entries))
    nothing = np.zeros(n)
    guess = Pilot(
        nothing if result.mean is None else result.mean,
        np.ones(n) if result.scale is None else result.scale,
        np.isin(np.arange(n), np.asarray(result.info.dropped_columns, dtype=np.int64)),
        power_of_two(size, source.dtype),
    )
    terms = terms_from_pilot(matrix, plan.layout, guess, single=False, complex_=session.complex_)
    loop = Iteration(session, terms)
    try:
        block = result.Vh.conj().T if k else np.eye(n, 1)  # the model of a matrix that vanishes
        with view.naming():
            space, probes = loop.first_pass(block.astype(terms.prep.wide), keep=True)
    except NonFiniteError as bad:  # the policy is the result's: another would be another matrix
        remedy = REMEDY if comparison.has_policy else MODEL_REMEDY
        raise NonFiniteError(bad.value, bad.row, bad.column, bad.chunk, remedy) from None
    ritz, stats = krylov.ritz_of_space(space), loop.known_terms.known_stats
    look, _ = assess_krylov(ritz, probes, stats, options, 1, count=plan.rank)
    fresh = look.certificate.scale_by(1 / product_scale(session, loop.known_terms))
    fresh = replace(fresh, orthogonality=_gram_error(result.Vh.conj().T))
    findings = tuple(_findings(result, fresh, source.shape[0]))
    info = session.info(Status.DONE, loop.known_terms)
    return Verification(not findings, findings, fresh, stored, asked, info)


def plan_verify(
    path: str | os.PathLike[str],
    A: Any,
    *,
    memory: int | str | None = None,
    seed: int = 1,
    delta: float = 1e-6,
) -> RunPlan:
    """What `verify` would read and need; nothing of the matrix is read.

    Parameters
    ----------
    path, A, memory, seed, delta
        As in `verify`.

    Returns
    -------
    plan
        With the upper bound of the memory.

    Notes
    -----
    Cost: that of loading the result.
    """
    asked = VerifyOptions(seed=seed, delta=delta)
    comparison = _prepare_comparison(path, A, memory)
    plan, twice = comparison.plan, comparison.matrix.nonfinite == "mean"
    notes = ("one pass more where values are missing: for the means that take their place",)
    return RunPlan(
        verb="verify",
        source=plan.name,
        options=asked,
        passes=2 if twice else 1,
        pass_bytes=int(plan.nbytes * plan.layout.amplification),
        workers=plan.workers,
        spans=len(plan.layout.spans),
        projected_bytes=plan.projected_bytes,
        budget_bytes=plan.budget_bytes,
        notes=notes if twice else (),
        cluster=plan.cluster,
    )


def _prepare_comparison(
    path: str | os.PathLike[str], A: Any, memory: int | str | None
) -> _Comparison:
    """The result and the matrix, and how the pass is made."""
    result, kept = _load_with_options(path)
    source = take_same_steps(as_source(A), result.row_steps, "the result")
    k, n = result.Vh.shape
    if source.shape[1] != n:
        raise ShapeError(
            f"{path} was made of {n:,} columns, the matrix has {source.shape[1]:,}. Pass the matrix it was made of."
        )
    view = View(source, source, None, 0, True)
    columns = kept.get("columns")
    if columns is not None:  # what it left out is no part of what it says
        view = View(kept_source(source, columns), source, columns, 0, True)
        result = narrow_result(result, columns)
    plan = plan_svd(
        view.source,
        max(k, 1),
        memory=memory,
        center=bool(kept.get("center")),
        scale=kept.get("scale") or False,
        row_weights=kept.get("row_weights"),
        column_weights=view.take(kept.get("column_weights")),
        nonfinite=str(kept.get("nonfinite", "raise")),
        max_passes=1,
        axis="rows",
        route="krylov",
        precision="double",
    )
    matrix = matrix_options(view.source, plan.options, plan.options.column_weights)
    return _Comparison(result, view, matrix, plan, "nonfinite" in kept)


def _load_with_options(path: str | os.PathLike[str]) -> tuple[SVD, dict[str, Any]]:
    """A stored result, or the newest version of a model, and the options it was made with."""
    if is_model(objects_at(path)):
        model = Model.open(path)
        spec = model.spec
        if spec.axis == "columns" or spec.forget != 1 or spec.window is not None:
            raise SpecError(
                f"{path} grows by columns, forgets or slides a window: it is not the factorisation of a matrix as "
                "stored. Verify its objects alone, without a source."
            )
        result = model.as_svd()
        # its scale is that of the rows it began with, fixed since: a weight, and no deviation of all rows
        factors = model.column_factors
        options = {"center": spec.center, "scale": False, "column_weights": factors}
        return result, options | {"columns": model.columns}
    place = place_of(path)
    result = read_result(place, "svd", "pca", "cells")
    weights = {"row_weights": None, "column_weights": None}
    return result, weights | result.preparation | {"columns": kept_columns(result)}


def _findings(result: SVD, fresh: Certificate, n_rows: int) -> list[str]:
    stored = result.certificate
    top = float(stored.sigma_upper.max(initial=0.0))
    zero = max(stored.zero, fresh.zero)
    slack = SLACK * top + zero
    found = []
    if n_rows != result.info.n_rows:
        found.append(
            f"the matrix has {n_rows:,} rows, the result was made of {result.info.n_rows:,}"
        )
    norms = fresh.frobenius_norm, stored.frobenius_norm
    if abs(norms[0] - norms[1]) > SLACK / 2 * max(norms) + zero:
        found.append(
            f"the Frobenius norm is {norms[0]:.9g}, the result was made of a matrix with {norms[1]:.9g}"
        )
    if fresh.orthogonality > 1e-6:
        found.append(
            f"the rows of Vh are not orthonormal: ||Vh Vh* - I|| is {fresh.orthogonality:.2g}"
        )
    count = min(fresh.sigma_lower.size, stored.sigma_lower.size)
    for i in range(count):
        if fresh.sigma_lower[i] > stored.sigma_upper[i] + slack:
            found.append(
                f"singular value {i + 1} is at least {fresh.sigma_lower[i]:.9g}, "
                f"the certificate says at most {stored.sigma_upper[i]:.9g}"
            )
        if fresh.sigma_upper[i] < stored.sigma_lower[i] - slack:
            found.append(
                f"singular value {i + 1} is at most {fresh.sigma_upper[i]:.9g}, "
                f"the certificate says at least {stored.sigma_lower[i]:.9g}"
            )
        if not stored.sigma_lower[i] - slack <= result.s[i] <= stored.sigma_upper[i] + slack:
            found.append(
                f"singular value {i + 1} is stored as {result.s[i]:.9g}, outside its interval "
                f"[{stored.sigma_lower[i]:.9g}, {stored.sigma_upper[i]:.9g}]"
            )
    room = np.sqrt(SLACK) * 1e-1 * top + zero
    if stored.sigma_lower.size == 0 and fresh.sigma_lower[0] > slack:
        found.append(f"singular value 1 is at least {fresh.sigma_lower[0]:.9g}, the model has none")
    if fresh.frobenius_error > stored.frobenius_error * (1 + SLACK) + room:
        found.append(
            f"||A - A Vh* Vh||_F is {fresh.frobenius_error:.9g}, the certificate says at most "
            f"{stored.frobenius_error:.9g}"
        )
    if result.U is not None and n_rows == result.info.n_rows:
        error = _u_error(result)
        if error > 1e-3:
            found.append(f"the columns of U are not orthonormal: ||U* U - I|| is {error:.2g}")
    return found


def _u_error(result: SVD) -> float:
    """``||U* U - I||`` over the values that are not zero, a run of chunks at a time."""
    k = result.rank
    total: Matrix = np.zeros(
        (k, k), dtype="complex128" if result.U.dtype.kind == "c" else "float64"
    )
    step = int(getattr(result.U, "chunks", (4096,))[0])
    for start in range(0, int(result.U.shape[0]), step):
        part = np.asarray(result.U[start : start + step]).astype(total.dtype)
        total += part.conj().T @ part
    alive = np.abs(np.diagonal(total)) > 0.5
    return spectral_norm(total[np.ix_(alive, alive)] - np.eye(int(alive.sum())))


def _gram_error(V: Any) -> float:
    return spectral_norm(V.conj().T @ V - np.eye(V.shape[1]))
