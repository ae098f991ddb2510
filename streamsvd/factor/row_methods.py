"""What every factorisation can do with rows: project them, give them back, say what is left of them and how likely they are."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from streamsvd.engine.events import Callback, ignore_event

if TYPE_CHECKING:
    from streamsvd.factor.reconstruction import ReconstructedRows
    from streamsvd.factor.result import SVD
    from streamsvd.protocols import Source

Rows = str | int | tuple[str | int, ...] | None


class RowMethods:
    """Methods of `SVD`, `PCA` and `Model`. Each is one pass over what it is given, through the engine."""

    __slots__ = ()

    @abstractmethod
    def _factors(self) -> SVD:
        """The factorisation itself."""

    def transform(
        self,
        new: Any,
        *,
        rank: int | None = None,
        out: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        nonfinite: str | None = None,
        align: bool = False,
        variable: str | None = None,
        rows: Rows = None,
        missing: str = "error",
        memory: int | float | str | None = None,
        callback: Callback = ignore_event,
    ) -> Any:
        """Scores of rows on the components: ``(A - 1 mu) D C Vh*``, what was done to the matrix done to the rows.

        Parameters
        ----------
        new
            Rows with the columns of the matrix that was factorised: anything `streamsvd.open` takes, ``(m, n)``, in memory or not.
            Of a result of anomalies the rows as they are: they lose the same climatology, unless they have lost one already. So of
            a result of `streamsvd.apply_steps`: they go through the same steps, unless they have.
        rank
            Only so many components; all if left out.
        out, overwrite
            Folder of a new zarr array for the scores, and whether it may replace one: it is there whole or not at all, and the
            scores are never in memory together. Where rows have coordinates it is a group of the array and these, as xarray has it.
        nonfinite
            What a NaN is: ``"raise"``, ``"zero"``, or ``"mean"`` of its column in the matrix that was factorised. Left out, what
            it was there. Inf is always an error. Columns that the result left out are not looked at.
        align
            Whether columns may be put in the order of the result by their labels, and those that it has not left out. Otherwise
            coordinates of columns that differ from those of the result are an error.
        variable, rows, missing
            As of `streamsvd.open`.
        memory
            Bytes this process may use above its imports; half of what is free if left out.
        callback
            Receives events.

        Returns
        -------
        scores
            ``(m, k)``: an array, or with ``out`` the zarr array there, read where it is used. float32 of single-precision rows
            where the products of the result were in single precision, else float64 (complex alike).
            Those of the matrix itself are ``U s``, without the roots of row weights.

        Raises
        ------
        ShapeError
            If the rows have another number of columns.
        NonFiniteError
            If an entry is Inf, or NaN and the policy is to raise; it names row and column.
        BudgetError
            If the scores, or one task, exceed the memory.
        StoreError, SpecError
            If ``out`` may not be replaced, cannot be written, or is what is read; if coordinates of columns differ from those of
            the result.

        Notes
        -----
        Cost: one pass, ``2 n k`` flops a row.

        Examples
        --------
        >>> import numpy as np, streamsvd
        >>> A = np.random.default_rng(0).standard_normal((60, 5))
        >>> found = streamsvd.pca(A, 2, u=True)
        >>> bool(np.allclose(found.transform(A), found.U * found.s))
        True
        """
        from streamsvd.factor.projection import transform
        from streamsvd.factor.row_output import RowOutput

        result = self._factors()
        source = _rows_of(result, new, align, variable, rows, missing)
        to = RowOutput(out, overwrite, memory, callback)
        return transform(result, source, to, rank=rank, nonfinite=nonfinite)

    def score_samples(
        self,
        new: Any,
        *,
        nonfinite: str | None = None,
        align: bool = False,
        variable: str | None = None,
        rows: Rows = None,
        missing: str = "error",
        memory: int | float | str | None = None,
        callback: Callback = ignore_event,
    ) -> Any:
        """Log-likelihood of each row under probabilistic principal components, ``(m,)``.

        Rows are Gaussian: with the explained variances in the directions of the components, and in all others with the mean of
        what is left of the certified energy. The density is that of rows as they were factorised: centred, scaled, weighted.

        Parameters
        ----------
        new, nonfinite, align, variable, rows, missing, memory, callback
            As of `transform`.

        Raises
        ------
        ShapeError, NonFiniteError, BudgetError, StoreError
            As `transform`.
        SpecError
            If coordinates of columns differ, or the components hold all of the variance, or one of them has none, so that there is no density.

        Notes
        -----
        Cost: one pass in double precision.

        References
        ----------
        Tipping, Bishop, J. R. Stat. Soc. B 61 (1999), equations 7 and 8. Where there are fewer rows than columns scikit-learn
        shares what is left among fewer directions than they do.
        """
        from streamsvd.factor.projection import score_samples
        from streamsvd.factor.row_output import RowOutput

        result = self._factors()
        source = _rows_of(result, new, align, variable, rows, missing)
        to = RowOutput(memory=memory, callback=callback)
        return score_samples(result, source, to, nonfinite=nonfinite)

    def inverse_transform(
        self,
        scores: Any,
        *,
        out: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        memory: int | float | str | None = None,
        callback: Callback = ignore_event,
    ) -> Any:
        """Rows that have these scores: ``T Vh C^-1 D^-1 + 1 mu``, in the units of the data.

        Parameters
        ----------
        scores
            ``(m, r)``, of the first ``r`` components: an array, or anything else `streamsvd.open` takes.
        out, overwrite
            Folder of a new zarr array for the rows, and whether it may replace one. It has the dimensions that the columns come from,
            and stands in a group with the coordinates where there are any.
        memory, callback
            As of `transform`.

        Returns
        -------
        rows
            ``(m, n)``: an array, or with ``out`` the zarr array there. NaN in columns of which nothing is known: those that were
            left out, or have weight 0.

        Raises
        ------
        ShapeError
            If there are more scores in a row than components.
        BudgetError, StoreError, SpecError
            As `transform`.

        Notes
        -----
        Cost: one read of the scores, ``2 n r`` flops a row.
        """
        from streamsvd.factor.reconstruction import inverse_transform
        from streamsvd.factor.row_output import RowOutput

        to = RowOutput(out, overwrite, memory, callback)
        return inverse_transform(self._factors(), _open(scores), to)

    def reconstruct(
        self,
        rows: Any = None,
        columns: Any = None,
        *,
        rank: int | None = None,
        source: Any = None,
        nonfinite: str | None = None,
        align: bool = False,
        out: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        memory: int | float | str | None = None,
        callback: Callback = ignore_event,
    ) -> ReconstructedRows | Any:
        """The matrix as the components give it back, as a lazy array: it is indexed as in numpy, and computes what is asked.

        Parameters
        ----------
        rows, columns
            Those of it that are wanted: a slice, numbers, or booleans; all if left out. Rows also by the label of their coordinate:
            ``"2000-01:2000-12"``, both ends included.
        rank
            Only so many components; all if left out.
        source
            Rows to be projected first, the matrix that was factorised or others with its columns: anything `streamsvd.open` takes.
            Left out, scores are those of ``U``, without the roots of row weights; rows of weight 0 are NaN.
        nonfinite, align
            Of ``source``, as of `transform`.
        out, overwrite
            Folder of a new zarr array for all that is wanted, and whether it may replace one; then that array is handed back, as of
            `inverse_transform`.
        memory, callback
            As of `transform`: of what is written, and of reading ``source``.

        Returns
        -------
        array
            With ``shape``, ``dtype``, ``ndim``; ``array[3, :10]``, ``array[mask]``, ``numpy.asarray(array)``. NaN as of
            `inverse_transform`.

        Raises
        ------
        SpecError
            If the result has no ``U``, and ``source`` was not passed; if no row has the labels that are wanted.
        ShapeError
            If ``rank`` or ``source`` does not agree with the result.
        BudgetError, StoreError
            As `transform`, where something is written.

        Notes
        -----
        Cost: of ``U`` the rows that are asked for are read; of ``source`` these rows, with every column that took part.
        """
        from streamsvd.factor.reconstruction import reconstruct
        from streamsvd.factor.row_output import RowOutput

        to = RowOutput(out, overwrite, memory, callback)
        result = self._factors()
        matrix = None if source is None else _rows_of(result, source, align)
        return reconstruct(
            result, (rows, columns), to, rank=rank, source=matrix, nonfinite=nonfinite
        )

    def residual(
        self,
        new: Any,
        *,
        rank: int | None = None,
        nonfinite: str | None = None,
        align: bool = False,
        out: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        variable: str | None = None,
        rows: Rows = None,
        missing: str = "error",
        memory: int | float | str | None = None,
        callback: Callback = ignore_event,
    ) -> Any:
        """Rows less what the components give back of them: a source, computed as it is read, that any verb takes.

        Parameters
        ----------
        new, rank, nonfinite, align, variable, rows, missing, memory, callback
            As of `transform`.
        out, overwrite
            Folder of a new zarr array for the residual, and whether it may replace one; then that array is handed back, as of
            `inverse_transform`.

        Returns
        -------
        source
            ``(m, n)`` in double precision. An entry that is missing is missing in it too, and so is each of a column of which
            nothing is known.

        Raises
        ------
        ShapeError, NonFiniteError, BudgetError, StoreError, SpecError
            As `transform`; what is found while reading, when it is read.

        Notes
        -----
        Cost: ``4 n k`` flops a row each time it is read; every read is of whole rows.
        """
        from streamsvd.factor.residuals import residual
        from streamsvd.factor.row_output import RowOutput

        result = self._factors()
        source = _rows_of(result, new, align, variable, rows, missing)
        to = RowOutput(out, overwrite, memory, callback)
        return residual(result, source, to, rank=rank, nonfinite=nonfinite)


def _rows_of(
    result: SVD,
    new: Any,
    align: bool,
    variable: str | None = None,
    rows: Rows = None,
    missing: str = "error",
) -> Source:
    """New rows, opened, with the columns of a result, after its steps, and without the climatology that its rows had lost."""
    from streamsvd.engine.steps import take_same_steps
    from streamsvd.engine.transforms import climatology_of, subtract_same
    from streamsvd.factor.alignment import align_columns
    from streamsvd.factor.projection import score_map

    opened = _open(new, variable, rows, missing)
    # sums of rows are of all columns
    needed = None if result.row_steps else score_map(result).takes_part
    found = align_columns(result.labels, opened, align=align, needed=needed)
    found = take_same_steps(found, result.row_steps, "the result")
    if result.climatology is None or climatology_of(found) is not None:
        return found
    return subtract_same(found, result.climatology)


def _open(
    matrix: Any, variable: str | None = None, rows: Rows = None, missing: str = "error"
) -> Source:
    """A source, opened if it is not one yet."""
    from streamsvd.engine.opening import as_source, open

    if variable is None and rows is None and missing == "error":
        return as_source(matrix)
    return open(matrix, variable=variable, rows=rows, missing=missing)
