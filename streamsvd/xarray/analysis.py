"""What `eof` returns: modes, their time series, reconstruction and projection as labelled arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from streamsvd.errors import SpecError
from streamsvd.factor.exports.coordinates import writable_attributes
from streamsvd.factor.exports.labelled import free_name
from streamsvd.factor.exports.lazy_matrix import ArrayParts, lazy_variable
from streamsvd.factor.result import SVD
from streamsvd.xarray.fields import Dims, check_field, open_field, row_names

SCALINGS = (0, 1, 2)


@dataclass(frozen=True, eq=False)
class EOFAnalysis:
    """Empirical orthogonal functions of a field.

    Attributes
    ----------
    result
        The factorisation, with its certificate: `streamsvd.PCA`, or `streamsvd.SVD` without centring.
    rows, columns
        Names of the dimensions that make either.
    order
        Those of the field, in its order.
    coordinates
        Those of the field, as a Dataset without variables.
    sizes
        Extents of its dimensions.
    """

    result: SVD
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    order: tuple[str, ...]
    coordinates: Any
    sizes: dict[str, int]

    @classmethod
    def of(cls, result: SVD, field: Any, dim: Dims) -> EOFAnalysis:
        """Of the factorisation of a field."""
        rows = row_names(dim)
        order = tuple(str(name) for name in field.dims)
        columns = tuple(name for name in order if name not in rows)
        coordinates = field.coords.to_dataset().load()  # a file may be closed
        sizes = {str(name): int(size) for name, size in field.sizes.items()}
        return cls(result, rows, columns, order, coordinates, sizes)

    @cached_property
    def dataset(self) -> xr.Dataset:
        """All of it: `streamsvd.SVD.to_xarray`."""
        return self.result.to_xarray()

    def _variable(self, name: str) -> Any:
        return self.dataset[free_name(name, self.dataset.dims, self.dataset.coords)].variable

    @property
    def _mode(self) -> str:
        return str(self._variable("components").dims[0])

    def _labelled(self, variable: Any, name: str, attributes: dict[str, Any]) -> Any:
        """A variable with the coordinates that the field has along its dimensions."""
        along = self.coordinates.drop_dims(set(self.coordinates.dims) - set(variable.dims))
        along = along.drop_vars(self._mode, errors="ignore")
        found = xr.DataArray(variable, along.coords, name=name).assign_attrs(attributes)
        if self._mode in found.dims:
            found = found.assign_coords({self._mode: np.arange(1, found.sizes[self._mode] + 1)})
        return found

    def _leading(self, array: Any, modes: int | None) -> Any:
        """The first modes of an array.

        Raises
        ------
        SpecError
            If there are not so many.
        """
        k = self.result.rank
        if modes is None:
            return array
        if not isinstance(modes, int | np.integer) or not 1 <= modes <= k:
            raise SpecError(f"modes={modes!r} of {k} there are. Pass a number from 1 to {k}.")
        return array.isel({self._mode: slice(0, int(modes))})

    def _scaled(self, array: Any, scaling: int) -> Any:
        """Modes or their series times a power of the root of their variance.

        Raises
        ------
        SpecError
            If the scaling is unknown.
        """
        if scaling not in SCALINGS:
            raise SpecError(
                f"scaling={scaling!r} is unknown. Pass 0, as they are; 1, divided by the root of their variance; 2, times it."
            )
        if scaling == 0:
            return array
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(
                self._leading(self._variable("explained_variance"), array.sizes[self._mode])
            )
            return array / root.where(root > 0) if scaling == 1 else array * root

    def pcs(self, scaling: int = 0, modes: int | None = None) -> xr.DataArray:
        """Principal components: the series of each mode, ``(*row dimensions, mode)``.

        Parameters
        ----------
        scaling
            0, as they are: ``U s``; 1, of unit variance; 2, times the root of their variance.
        modes
            The first so many; all if left out.

        Raises
        ------
        SpecError
            If a parameter is out of range, or ``u=False`` was asked.
        """
        if self.result.U is None:
            raise SpecError(
                "the analysis was made with u=False, without series. Make it with u=True."
            )
        found = self._scaled(self._leading(self._variable("scores"), modes), scaling)
        return self._labelled(found, "pcs", {"long_name": "principal components"})

    def eofs(self, scaling: int = 0, modes: int | None = None) -> xr.DataArray:
        """Empirical orthogonal functions of the weighted field, ``(mode, *column dimensions)``: NaN in columns left out.

        Parameters
        ----------
        scaling
            0, orthonormal; 1, divided by the root of their variance; 2, times it.
        modes
            The first so many; all if left out.

        Raises
        ------
        SpecError
            If a parameter is out of range.
        """
        found = self._scaled(self._leading(self._variable("components"), modes), scaling)
        return self._labelled(found, "eofs", {"long_name": "empirical orthogonal functions"})

    def eigenvalues(self, modes: int | None = None) -> xr.DataArray:
        """Variance of each mode, ``(mode,)``: ``s**2 / (N - 1)``."""
        found = self._leading(self._variable("explained_variance"), modes)
        return self._labelled(found, "eigenvalues", {"long_name": "variance of each mode"})

    def variance_fraction(self, modes: int | None = None) -> xr.DataArray:
        """Its share of the total variance, ``(mode,)``; the ends that are proved are in `dataset`."""
        found = self._leading(self._variable("explained_variance_ratio"), modes)
        return self._labelled(
            found, "variance_fractions", {"long_name": "share of the total variance"}
        )

    def reconstruct(self, modes: int | None = None) -> xr.DataArray:
        """The field as its modes give it back, in its units and dimensions, computed where it is used.

        Weights and scaling are undone and the mean is added. Anomalies stay anomalies: what ``anomaly=`` and ``detrend=``
        subtracted is not added. NaN in columns that were left out, or have weight 0.

        Parameters
        ----------
        modes
            By the first so many; all if left out.

        Raises
        ------
        SpecError
            If there are not so many modes, or ``u=False`` was asked.

        Notes
        -----
        Cost: no pass; of ``U`` the rows that are asked for are read.
        """
        self._leading(self._variable("explained_variance"), modes)
        rows, columns = self._extents(self.rows), self._extents(self.columns)
        matrix = ArrayParts(self.result.reconstruct(rank=modes))
        variable = xr.Variable((*self.rows, *self.columns), lazy_variable(matrix, rows, columns))
        labels = self.result.labels
        found = self._labelled(
            variable, labels.name or "reconstruction", writable_attributes(labels.attributes)
        )
        return found.transpose(*self.order)

    def _extents(self, names: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(self.sizes[name] for name in names)

    def project(
        self, new: Any, modes: int | None = None, *, scaling: int = 0, **options: Any
    ) -> xr.DataArray:
        """Observations on the modes: pseudo principal components, ``(*row dimensions, mode)``.

        What was done to the field is done to them: climatology and trend, mean, scaling and weights.

        Parameters
        ----------
        new
            A DataArray with the column dimensions of the field at the same coordinates, in any order, and its row dimensions, or
            without these, one observation.
        modes
            On the first so many; all if left out.
        scaling
            As of `pcs`: 1 divides by the root of the variance of each mode, 2 multiplies.
        **options
            Those of `streamsvd.SVD.transform`: ``align=True`` takes the columns of the field from a larger one, by their coordinates;
            ``nonfinite``, ``memory``, ``callback``; with ``out`` and ``overwrite`` scores lie in a folder, and are read where they are used.

        Raises
        ------
        SpecError
            If a dimension is absent or another one there, or coordinates differ; it names the first.
        NonFiniteError
            If a column that takes part has no value.

        Notes
        -----
        Cost: one pass over ``new``.
        """
        self._leading(self._variable("explained_variance"), modes)
        several = self._in_order(new)
        source = open_field(several, self.rows)
        scores = ArrayParts(self.result.transform(source, rank=modes, **options))
        lengths = [several.sizes[name] for name in self.rows]
        values = (
            scores.whole.reshape(*lengths, -1)
            if isinstance(scores.whole, np.ndarray)
            else lazy_variable(scores, lengths, scores.shape[1:])
        )
        along = several.coords.to_dataset().drop_dims(self.columns, errors="ignore")
        found = xr.DataArray(
            self._scaled(xr.Variable((*self.rows, self._mode), values), scaling),
            along.drop_vars(self._mode, errors="ignore").coords,
            name="pseudo_pcs",
            attrs={"long_name": "projections on the modes"},
        ).assign_coords({self._mode: np.arange(1, scores.shape[1] + 1)})
        return found.squeeze([n for n in self.rows if n not in new.dims])

    def _in_order(self, new: Any) -> Any:
        """New observations with the dimensions of the field, in its order.

        Raises
        ------
        SpecError
            If that cannot be.
        """
        if isinstance(new, xr.DataArray):
            absent = [name for name in self.columns if name not in new.dims]
            strange = [str(name) for name in new.dims if name not in self.order]
            if absent or strange:
                what = f"no {' and no '.join(absent)}" if absent else f"also {', '.join(strange)}"
                raise SpecError(
                    f"the observations have the dimensions {', '.join(map(str, new.dims))}: {what}. Those of the field are "
                    f"{', '.join(self.order)}."
                )
            new = new.expand_dims([name for name in self.rows if name not in new.dims])
        check_field(new, self.rows)
        return new.transpose(*self.order)

    def __repr__(self) -> str:
        return f"<EOFAnalysis of {' x '.join(self.order)} along {', '.join(self.rows)}: {self.result!r}>"
