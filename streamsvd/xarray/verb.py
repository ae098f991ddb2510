"""The verb `eof`: principal components of a field, in the words of climate science."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamsvd.checks.numbers import is_integer
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.transforms import anomalies
from streamsvd.engine.transforms import detrend as without_trend
from streamsvd.engine.weights import column_weight_array
from streamsvd.errors import ShapeError, SpecError
from streamsvd.factor.pca import pca
from streamsvd.factor.result import SVD
from streamsvd.factor.svd import svd
from streamsvd.xarray.analysis import EOFAnalysis
from streamsvd.xarray.fields import Dims, open_field, over_columns


def eof(
    da: Any,
    dim: Dims = "time",
    modes: int | None = 10,
    *,
    weights: Any = None,
    anomaly: Any = None,
    detrend: Any = False,
    reference: Sequence[str] | None = None,
    mask: Any = "auto",
    center: bool = True,
    scale: Any = False,
    memory: int | str | None = None,
    tol: float | None = None,
    callback: Callback = ignore_event,
    **options: Any,
) -> EOFAnalysis:
    """Empirical orthogonal functions of a field of xarray, with what is proved of them.

    Parameters
    ----------
    da
        The field, a DataArray in memory or not. Missing values are NaN.
    dim
        The dimension of the observations, or several whose combinations are observations; all others make the columns.
    modes
        Modes wanted; None with ``energy=0.9`` for those that hold that share of the variance.
    weights
        ``"coslat"``, the root of the cosine of the latitude; ``{"lat": w}``, the root of a weight along a dimension, as of an
        area; or a DataArray, or an array in the shape of the columns, which multiplies the field as it is, as in ``eofs``.
    anomaly
        ``"month"``, ``"season"``, ``"dayofyear"``, ``"hour"`` or several of them: the mean of each group of times is subtracted; also
        ``by`` of `streamsvd.anomalies` otherwise.
    detrend
        The linear trend along the times is subtracted too; or times, one number for each observation.
    reference
        First and last day of the times whose means and trend are taken, such as ``["1981-01-01", "2010-12-31"]``.
    mask
        Columns to keep: booleans over them, a DataArray or an array; ``"auto"``, those that have a value; None for all.
    center
        Subtract the mean of each column.
    scale
        Divide each column by its standard deviation.
    memory, tol
        As of `streamsvd.pca`.
    callback
        Receives events.
    **options
        Further ones of `streamsvd.pca`, such as ``energy``, ``nonfinite="drop_columns"``, ``out`` or ``seed``.

    Returns
    -------
    analysis
        Its methods give labelled arrays, its ``dataset`` all of them, its ``result`` the factorisation and its certificate.

    Raises
    ------
    SpecError
        If ``da`` is no DataArray or lacks a dimension, or weights or a mask have other dimensions or coordinates.
    ShapeError
        If there are fewer modes than asked, or weights or a mask have another shape.
    NonFiniteError
        If a column has values and gaps; ``nonfinite=`` says what a gap is.
    NotConverged, BudgetError
        As `streamsvd.pca`.

    Notes
    -----
    Cost: that of `streamsvd.pca` with ``u=True``: a few passes, and one more where anomalies or a trend are subtracted.

    References
    ----------
    Conventions are those of Dawson, J. Open Res. Softw. 4 (2016), e14: variances have ``N - 1`` in the denominator, and modes are
    those of the weighted field.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from streamsvd.xarray import eof
    >>> field = np.random.default_rng(0).standard_normal((60, 4, 5))
    >>> found = eof(xr.DataArray(field, dims=("time", "lat", "lon")), modes=3)
    >>> dict(found.eofs().sizes)
    {'mode': 3, 'lat': 4, 'lon': 5}
    """
    source = open_field(da, dim)
    _check_modes(modes, source.shape, options.get("energy"))
    if "column_weights" in options:
        raise SpecError("column_weights= is weights= here. Pass one of them.")
    column_weights = column_weight_array(
        source, over_columns(weights, da, dim, "weights"), "weights"
    )
    kept = over_columns(mask, da, dim, "mask")
    matrix = source
    if anomaly is not None:
        matrix = anomalies(
            source, anomaly, reference=reference, detrend=detrend, memory=memory, callback=callback
        )
    elif detrend is not False:
        matrix = without_trend(
            source, None if detrend is True else detrend, reference=reference, memory=memory, callback=callback
        )  # fmt: skip
    elif reference is not None:
        raise SpecError(
            "reference= is the period of anomaly= or detrend=, and neither is asked. Leave it out."
        )
    verb = pca if center else svd
    options = {"u": True, **options}
    result: SVD = verb(
        matrix, modes, scale=scale, column_weights=column_weights, mask=kept, memory=memory, tol=tol, callback=callback, **options
    )  # fmt: skip
    return EOFAnalysis.of(result, da, dim)


def _check_modes(modes: Any, shape: tuple[int, int], energy: Any) -> None:
    """Refuse modes that there are not, in the words of fields.

    Raises
    ------
    SpecError, ShapeError
        It says how many there are.
    """
    if modes is None:
        return
    if energy is not None:
        raise SpecError(
            f"modes={modes} and energy={energy} exclude each other. Pass modes=None for as many as hold that share."
        )
    if not is_integer(modes):
        raise SpecError(f"modes={modes!r} is not an integer. Pass the number of modes wanted.")
    most = min(shape)
    if not 1 <= modes <= most:
        raise ShapeError(
            f"modes={modes} is asked of a field of {shape[0]:,} observations of {shape[1]:,} columns, which has {most:,}. "
            f"Pass 1 <= modes <= {most}."
        )
