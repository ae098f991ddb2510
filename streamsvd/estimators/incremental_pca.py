"""Principal components from blocks of rows of any height, each read once: a face of `IncrementalSVD`.

With the state's ``s``, ``Vh`` and exact energy ``E`` of the centred rows, ``m`` rows and ``k`` components:
``explained_variance_ = s^2 / (m - 1)``, ``explained_variance_ratio_ = s^2 / E``, and the mean of the other
variances is ``(E - sum s^2) / ((m - 1) (min(m, n) - k))``; `streamsvd.models.mathematics.incremental` says how far s can be off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import gen_batches

from streamsvd.checks.real import check_real
from streamsvd.checks.sizes import check_size
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import running
from streamsvd.engine.schedule import allowed_bytes, schedule_rows
from streamsvd.errors import SpecError
from streamsvd.estimators.column_sums import squares_about, stored_entries
from streamsvd.estimators.completion import complete_triplets
from streamsvd.estimators.gaussian import GaussianModel
from streamsvd.estimators.inputs import (
    all_or_nothing,
    check_components,
    check_count,
    check_in_memory,
    check_share,
    is_stored,
    without_missing,
)
from streamsvd.models.cut import PieceCost
from streamsvd.models.mathematics.incremental import SMALL, TALL, IncrementalSVD
from streamsvd.protocols import Source
from streamsvd.typing import Matrix, Real

VARIANCE_COPIES = 3
"""Of a block of rows in double precision, beside those of the state: itself, less the mean, and its squares."""


class IncrementalPCA(GaussianModel, BaseEstimator):  # type: ignore[misc]
    """Principal component analysis that sees each row once, in blocks of any height, and knows its own error.

    Parameters
    ----------
    n_components
        Components wanted, at most the columns; None for all, or for as many as ``tol`` needs.
    copy
        Of no effect, for callers who pass it: what is given is never written into.
    whiten
        Whether `transform` divides each component by its standard deviation.
    batch_size
        Rows that `fit` absorbs at a time. Left out, the most that are stacked without a sketch:
        ``max(3 * (n_components + buffer), 256)``.
    buffer
        Directions kept beyond the components; `streamsvd.models.mathematics.incremental.default_buffer` if left out, 64 or more of up to
        32 768 columns. More is more accurate.
    tol
        Instead of ``n_components``: relative Frobenius error of the centred data, in (0, 1). All components
        that this needs are kept, so that their number may change as blocks arrive.
    memory
        Budget in bytes, or a text such as ``"256MiB"``, of what reads a stored matrix; half of what is free if left out.

    Attributes
    ----------
    components_
        Orthonormal rows, ``(n_components_, n)``, of descending variance; the entry of largest modulus of
        each is positive, as `svd_flip` of scikit-learn has it.
    explained_variance_, explained_variance_ratio_, singular_values_
        ``(n_components_,)``; the singular values are those of the centred rows.
    mean_, var_
        Of each column, ``(n,)``; the variance is ``sum (x - mean)**2 / m``.
    noise_variance_
        Mean of the variances of the directions left out; 0 if there are none.
    n_components_
        ``min(n_components, rows seen, columns)``, whatever the values are; or what ``tol`` needs.
    n_samples_seen_, batch_size_, n_features_in_, feature_names_in_
        Rows absorbed; rows that `fit` takes at a time; columns, and their names where the data had some.
    certificate_
        Interval of every singular value, error of the factorisation, angle of the subspace.
    state_
        The `streamsvd.models.mathematics.incremental.Factor` that the next block is absorbed into.

    Notes
    -----
    Cost: ``O(n (l + b)^2)`` flops for a block of b rows where l directions are kept, memory ``O(n (l + b))``,
    beside one copy of the block in double precision.

    The first and the last block may have fewer rows than there are components, even one. Directions in
    which the rows have no variance are made up where there are too few with: any orthonormal ones, of value 0,
    which whitening sends to 0. The state is exact while all directions fit into components and buffer,
    otherwise as good as ``certificate_`` says; options may be changed between blocks.

    References
    ----------
    .. [1] Levy, Lindenbaum, IEEE Trans. Image Processing 9 (2000), the update.
    .. [2] Ross, Lim, Lin, Yang, Int. J. Computer Vision 77 (2008), the moving mean.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> X = np.random.default_rng(0).standard_normal((60, 5)) * [9, 4, 1, 1, 1]
    >>> pca = streamsvd.IncrementalPCA(n_components=2)
    >>> for row in X:  # one row at a time
    ...     pca = pca.partial_fit(row[None, :])
    >>> c = pca.certificate_
    >>> bool(np.all(c.sigma_lower <= np.linalg.svd(X - X.mean(0))[1][:2]))
    True
    >>> pca.transform(X).shape
    (60, 2)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        copy: bool = True,
        whiten: bool = False,
        batch_size: int | None = None,
        buffer: int | None = None,
        tol: float | None = None,
        memory: int | str | None = None,
    ) -> None:
        self.n_components = n_components
        self.copy = copy
        self.whiten = whiten
        self.batch_size = batch_size
        self.buffer = buffer
        self.tol = tol
        self.memory = memory

    def fit(self, X: Any, y: Any = None) -> Self:
        """Begin anew and absorb all rows, ``batch_size_`` at a time.

        Parameters
        ----------
        X
            ``(m, n)``, also a sparse matrix of scipy, whose rows stay sparse; or a path, zarr or dask array, or what `streamsvd.open` returned, which is read once,
            in its order, the next rows while these are absorbed.
        y
            Ignored.

        Raises
        ------
        SpecError, ShapeError
            If an option cannot be meant; more components than columns; entries whose squares float64 does
            not hold. After this and any other error the estimator is as it was.
        """
        del y
        with all_or_nothing(self):
            if is_stored(X) and not sparse.issparse(X):
                source = as_source(X)
                check_real(source)
                self._begin_stored(source)
                self._begin(source.shape[1])
                with without_missing(self._verb):
                    self._absorb_stored(source)
            else:
                X = self._check_rows(X, reset=True)
                self._begin(X.shape[1])
                self._absorb_in_batches(X)
            return self._set_attributes()

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Absorb a block of one or more rows, ``(b, n)``; ``y`` is ignored. Sparse rows stay sparse.

        Raises
        ------
        SpecError, ShapeError
            As in `fit`.
        """
        del y
        check_in_memory(
            X,
            remedy="Pass it to fit, or rows of it as arrays: partial_fit(numpy.asarray(X[:1000])).",
        )
        first = not hasattr(self, "state_")
        with all_or_nothing(self):
            X = self._check_rows(X, reset=first)
            if first:
                self._begin(X.shape[1])
            self._absorb(self._method(X.shape[1]), X)
            return self._set_attributes()

    # The state and what it says ---------------------------------------------------------------------

    def _method(self, n_features: int) -> IncrementalSVD:
        rank = check_count("n_components", self.n_components)
        check_components(rank, n_features)
        tol, buffer = check_share("tol", self.tol), check_count("buffer", self.buffer, least=0)
        if tol is not None:
            if rank is not None:
                raise SpecError(
                    f"n_components={rank} and tol={self.tol} exclude each other. Pass one of them."
                )
            return IncrementalSVD(tol=tol, max_rank=n_features, center=True)
        if rank is None:
            return IncrementalSVD(rank=n_features, buffer=0, center=True)
        return IncrementalSVD(rank=rank, buffer=buffer, center=True)

    def _begin(self, n_features: int) -> None:
        method = self._method(n_features)
        asked = check_count("batch_size", self.batch_size)
        self.batch_size_ = asked or max(TALL * method.width_for(n_features), SMALL)
        self.state_ = method.init(n_features, like=np.zeros(0))
        self.var_: Real = np.zeros(n_features)

    def _absorb_in_batches(self, X: Matrix) -> None:
        method = self._method(X.shape[1])
        for batch in gen_batches(X.shape[0], self.batch_size_):
            self._absorb(method, X[batch])

    def _absorb_stored(self, source: Source) -> None:
        """Absorb a stored matrix in its order, the next rows read meanwhile."""
        n, height = source.shape[1], min(self.batch_size_, source.shape[0])
        method = self._method(n)
        cost = PieceCost(n, method.width_for(n), complex_=False, left=False, threads=1)
        schedule = schedule_rows(
            source,
            height,
            allowed_bytes(self.memory),
            work=lambda rows: 8 * n * rows,
            shared=cost.bytes_needed(height) + VARIANCE_COPIES * 8 * n * height,
            what=f"absorbing {height:,} rows at once",
            remedy=" or a smaller batch_size",
        )
        with running(schedule) as run:
            for block in run.in_order("absorbing"):
                self._absorb(method, np.array(block.data, dtype=np.float64))

    def _absorb(self, method: IncrementalSVD, block: Matrix) -> None:
        check_size(stored_entries(block), "the block")
        before = self.state_
        after = method.update(before, block)
        variance = pooled_variance(self.var_, before.mean, before.n_rows, block, after.mean)
        self.state_, self.var_ = after, variance

    def _set_attributes(self) -> Self:
        """The attributes that users know, of the state as it is."""
        state = self.state_
        m, n = state.n_rows, state.Vh.shape[1]
        method = self._method(n)
        wanted = method.rank or max(method.finalize(state).s.size, 1)
        count = min(wanted, m, n)  # a state may hold more: rounding, where rows are far from zero
        found = complete_triplets(
            replace(method, rank=count, tol=None).finalize(state), state, count
        )
        energy, freedom = state.ledger.energy, max(m - 1, 1)
        squares = found.s**2
        self.n_components_ = count
        self.n_samples_seen_ = m
        assert state.mean is not None
        self.mean_ = state.mean
        self.components_ = found.Vh
        self.singular_values_ = found.s
        self.explained_variance_ = squares / freedom
        self.explained_variance_ratio_ = squares / energy if energy > 0 else np.zeros(count)
        others = min(m, n) - count
        left = max(energy - float(np.sum(squares)), 0.0)
        self.noise_variance_ = left / (freedom * others) if others > 0 else 0.0
        self.certificate_ = found.certificate
        return self


def pooled_variance(
    variance: Real, mean: Matrix | None, n_rows: int, block: Matrix, new_mean: Matrix | None
) -> Real:
    """Variance of each column of the rows so far and of a block; nothing cancels (Chan, Golub, LeVeque 1983)."""
    assert mean is not None
    assert new_mean is not None
    total = n_rows + block.shape[0]
    about = squares_about(block, new_mean)
    pooled: Real = (n_rows * (variance + np.square(mean - new_mean)) + about) / total
    return pooled
