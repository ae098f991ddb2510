"""What a factorisation returns."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from streamsvd.engine.transforms import Climatology
from streamsvd.factor.export_methods import ExportMethods
from streamsvd.factor.options import SVDOptions
from streamsvd.factor.row_methods import RowMethods
from streamsvd.factor.sampling import SamplingErrors, north_errors
from streamsvd.factor.tables import ComponentsTable, Scree, components_table, scree
from streamsvd.info import Info
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.sentences import describe_briefly, round_down, round_up
from streamsvd.numerics.step_records import RowStepRecord
from streamsvd.store.results.saving import Result
from streamsvd.store.results.values import IN_CHUNKS
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class SVD(Result, RowMethods, ExportMethods):
    """The leading singular triplets of a matrix, and what is proved of them.

    Attributes
    ----------
    s
        Singular values, descending, ``(k,)``.
    Vh
        Right singular vectors, ``(k, n)``; the entry of largest modulus of each row is positive. Of a model, signs are those
        of the version before.
    U
        Left singular vectors, ``(m, k)``: a zarr array where ``out`` was given, else an array; None if not
        asked for. Columns of singular values that are numerically zero are zero.
    mean, scale
        What was subtracted from each column and what it was divided by, ``(n,)``; None if neither. 0 of columns of weight 0.
    certificate, info
        What is proved, and how it was made.
    options
        What was asked; None of a model, and of results that earlier releases wrote.
    preparation
        What was done to the matrix before: ``center``, ``scale``, ``nonfinite``, the weights, and in ``columns`` which columns
        took part.
    labels
        What the matrix says of its rows and columns: dimensions, coordinates, names, units.
    climatology
        What rows had lost before, of a matrix that `streamsvd.anomalies` or `streamsvd.detrend` returned: rows that are projected
        lose the same, and rows given back are without it. None for nothing.
    row_steps
        What `streamsvd.apply_steps` had done to the rows before, in its order, with what it counted: rows that are projected go
        through the same, and rows given back are as they left them.
    """

    s: Real
    Vh: Matrix
    U: Any = field(metadata=IN_CHUNKS)
    mean: Matrix | None
    scale: Real | None
    certificate: Certificate
    info: Info
    options: SVDOptions | None
    preparation: dict[str, Any]
    labels: Labels = NO_LABELS
    climatology: Climatology | None = None
    row_steps: tuple[RowStepRecord, ...] = ()

    def _factors(self) -> SVD:
        return self

    @property
    def rank(self) -> int:
        """Number of triplets."""
        return int(self.s.size)

    def __repr__(self) -> str:
        c, i = self.certificate, self.info
        m, n = i.n_rows, self.Vh.shape[1]
        first, last = (self._format_value(j) for j in (0, self.rank - 1))
        return (
            f"<SVD rank {self.rank} of {m:,} x {n:,}: s = {first} .. {last}, "
            f"{i.status.value}, {describe_briefly(c)} ({c.kind.value}), "
            f"{i.passes:.3g} passes, {i.elapsed_s:.3g} s>"
        )

    def scree(self) -> Scree:
        """The values as a table: variance, share and cumulative share of each component, with their certified ends.

        Returns
        -------
        scree
            Arrays ``(k,)``; ``print`` shows them as a table.
        """
        return scree(self)

    def components_table(self, top: int = 10) -> ComponentsTable:
        """The columns of largest modulus of each component, with their names.

        Parameters
        ----------
        top
            How many of each, at most.

        Returns
        -------
        table
            Numbers, names and entries; ``print`` shows them.

        Raises
        ------
        SpecError
            If ``top`` is no count.
        """
        return components_table(self.Vh, self.labels, top)

    def north_errors(self, effective_size: Any = None) -> SamplingErrors:
        """Sampling errors of the variances, by the rule of thumb of North et al. (1982), and which components are apart.

        Parameters
        ----------
        effective_size
            Independent rows: a number, or one for each component, as `streamsvd.effective_sample_size` gives of scores; all rows if left out, of
            weighted rows ``sum(w)^2 / sum(w^2)``.

        Returns
        -------
        errors
            The sampling error of each variance beside its certified ends, which are another thing: the first is about the rows as a sample, the second
            about the matrix that they are.

        Raises
        ------
        SpecError, ShapeError
            If the size is no number of rows, or there are fewer than components.

        References
        ----------
        .. [1] North, Bell, Cahalan, Moeng, Monthly Weather Review 110 (1982), equation 24.
        """
        return north_errors(self, effective_size)

    def _format_value(self, j: int) -> str:
        """A value; its interval where it is not resolved."""
        c = self.certificate
        if c.resolved[j]:
            return f"{self.s[j]:.6g}"
        return f"[{round_down(float(c.sigma_lower[j]))}, {round_up(float(c.sigma_upper[j]))}]"


@dataclass(frozen=True, slots=True, eq=False)
class PCA(SVD):
    """Principal components: the SVD of the centred matrix, in the words of statistics.

    Attributes
    ----------
    s, Vh, U, mean, scale, certificate, info, options, preparation, labels, climatology, row_steps
        As of `SVD`.
    """

    @classmethod
    def of(cls, result: SVD) -> PCA:
        """The same factorisation."""
        return cls(**_values(result))

    @property
    def svd(self) -> SVD:
        """The factorisation itself."""
        return SVD(**_values(self))

    @property
    def components(self) -> Matrix:
        """The rows of ``Vh``, ``(k, n)``."""
        return self.Vh

    @property
    def explained_variance(self) -> Real:
        """``s**2 / info.freedom``, which is ``m - 1`` where rows have no weights, ``(k,)``; ``inf`` or 0 where float64 ends."""
        with np.errstate(over="ignore"):  # `range_warnings` says it
            return np.asarray(self.s**2 / self.info.freedom)

    @property
    def explained_variance_ratio(self) -> Real:
        """Its share of the total variance, ``(k,)``."""
        if self.certificate.vanishes:
            return np.zeros_like(self.s)
        return np.asarray((self.s / self.certificate.frobenius_norm) ** 2)

    def __repr__(self) -> str:
        share = float(self.explained_variance_ratio.sum())
        return f"<PCA of {self.svd!r}, {share:.4%} of the variance>"


def range_warnings(c: Certificate, freedom: float, *, principal: bool) -> tuple[str, ...]:
    """What a result says where squares of its values leave float64: a sentence, or none."""
    values = c.sigma_lower[c.sigma_lower > 0]
    least = float(values[-1]) if principal and values.size else c.frobenius_norm
    smallest = least / np.sqrt(freedom if principal and freedom > 0 else 1.0)
    if c.vanishes or (np.isfinite(c.energy) and smallest**2 >= np.finfo(np.float64).tiny):
        return ()
    fields = "explained_variance, certificate.energy" if principal else "certificate.energy"
    return (
        f"squares of the values, which reach {float(c.sigma_upper[0]):.3g}, leave the range of float64: {fields} and "
        "certificate.deficit are infinite, zero or short of digits; values, intervals, errors and shares are right. "
        "Multiply all the data by a power of two to have them all.",
    )


def _values(result: SVD) -> dict[str, Any]:
    return {f.name: getattr(result, f.name) for f in fields(SVD)}
