"""What every factorisation can be made into: a Dataset, a table, annotations of cells."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from streamsvd.checks.libraries import optional_library

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from streamsvd.factor.result import SVD


class ExportMethods:
    """Methods of `SVD`, `PCA` and `Model`. Nothing of the matrix is read, and the result stays as it is."""

    __slots__ = ()

    @abstractmethod
    def _factors(self) -> SVD:
        """The factorisation itself."""

    def to_xarray(self) -> xr.Dataset:
        """The result with its labels, as a Dataset that `to_netcdf` and `to_zarr` write.

        Returns
        -------
        dataset
            ``components (mode, *column dimensions)``, NaN in columns that were left out; ``scores (*row dimensions, mode)`` where
            ``U`` was kept, which are ``U s`` without the roots of row weights; ``singular_values``, ``explained_variance`` and
            ``explained_variance_ratio (mode)``, each with the ends that are proved as ``_lower`` and ``_upper``; ``mean``, ``scale``
            and weights where there are any; ``climatology`` and ``trend``, if the rows had lost one before; the coordinates of the data, times as dates; ``mode`` from 1. Its attributes say what
            is proved, and of what. A name that a dimension or coordinate of the data has gets an underscore behind it.

        Raises
        ------
        StoreError
            If xarray is not installed; it gives the line that installs it.

        Notes
        -----
        Cost: no pass; components are copied, ``8 n k`` bytes. Scores whose ``U`` lies on disk are read where they are used.
        Where nothing was subtracted, a variance is a mean square.

        Examples
        --------
        >>> import numpy as np, streamsvd
        >>> found = streamsvd.pca(np.random.default_rng(0).standard_normal((60, 5)), 2, u=True)
        >>> dict(found.to_xarray().scores.sizes)
        {'row': 60, 'mode': 2}
        """
        optional_library("xarray", "xarray", "to_xarray makes a Dataset")
        from streamsvd.factor.exports.dataset import result_dataset

        return result_dataset(self._factors())

    def to_dataframe(self, what: str = "components") -> pd.DataFrame:
        """One table of the result, its rows named as the data name them.

        Parameters
        ----------
        what
            ``"components"``: a row for each column of the matrix, NaN where it was left out, a column for each component, ``PC1``
            and on. ``"scores"``: a row for each row of the matrix. ``"variance"``: a row for each component with its singular
            value, variance, share, and the ends that are proved.

        Returns
        -------
        table
            Its index is the coordinate of the dimension, or of several dimensions a MultiIndex of their coordinates.

        Raises
        ------
        SpecError
            If ``what`` is unknown, or scores are wanted and ``U`` was not kept.
        BudgetError
            If scores on disk exceed half of the memory that is free.
        StoreError
            If pandas is not installed.

        Notes
        -----
        Cost: no pass.

        Examples
        --------
        >>> import numpy as np, streamsvd
        >>> found = streamsvd.pca(np.random.default_rng(0).standard_normal((60, 5)), 2)
        >>> found.to_dataframe().shape
        (5, 2)
        """
        optional_library("pandas", "pandas", "to_dataframe makes a table of pandas")
        from streamsvd.factor.exports.frames import result_table

        return result_table(self._factors(), what)

    def to_anndata(
        self,
        adata: Any,
        *,
        key_added: str | None = None,
        layer: str | None = None,
        scores: Any = None,
    ) -> None:
        """Write the result into an AnnData object, as `scanpy.pp.pca` does.

        Parameters
        ----------
        adata
            The object, or one with the same observations and variables in the same order. It gets
            ``obsm["X_pca"]``, the scores in float32; ``varm["PCs"]``, the components, 0 at variables that were left out;
            ``uns["pca"]`` with ``variance``, ``variance_ratio`` and ``params``.
        key_added
            One name for all three instead.
        layer
            The layer that was factorised, which is noted in ``params``.
        scores
            Scores of the observations, ``(m, k)``, where ``U`` was not kept.

        Raises
        ------
        SpecError
            If ``adata`` is no such object, its names are not those of the result, or there are no scores.
        ShapeError
            If it has other extents.
        """
        from streamsvd.factor.exports.cells import CellKeys, fill_annotations

        fill_annotations(self._factors(), adata, CellKeys(key_added, layer), scores)
