"""Which page a result has, by its class."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from streamsvd.collections.compressed import CompressedCollection
from streamsvd.collections.rates import RateCurve
from streamsvd.collections.result import ClusterResult
from streamsvd.errors import SpecError
from streamsvd.factor.result import PCA, SVD
from streamsvd.kernels.nystrom import NystromResult
from streamsvd.kernels.ridge import KernelRidgeResult
from streamsvd.models.verify import Verification
from streamsvd.report.parts import Page
from streamsvd.report.results.collections import cluster_page, compressed_page, rates_page
from streamsvd.report.results.factorisations import svd_page, verify_page
from streamsvd.report.results.kernels import nystrom_page, ridge_page
from streamsvd.report.results.models import model_page
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.rows import least_squares_page, sample_page
from streamsvd.report.results.streams import open_stream_page, stream_page
from streamsvd.rows.lstsq import LeastSquaresResult
from streamsvd.rows.sample_rows import RowSample
from streamsvd.store.objects import objects_at
from streamsvd.store.results.loading import load
from streamsvd.store.versions import is_model
from streamsvd.streams.result import TopEigenvectorsResult
from streamsvd.streams.stream import TopEigenvectorStream

PAGES: dict[type, Callable[[Any, ResultOrigin], Page]] = {
    SVD: svd_page,
    PCA: svd_page,
    Verification: verify_page,
    TopEigenvectorsResult: stream_page,
    TopEigenvectorStream: open_stream_page,
    NystromResult: nystrom_page,
    KernelRidgeResult: ridge_page,
    LeastSquaresResult: least_squares_page,
    RowSample: sample_page,
    ClusterResult: cluster_page,
    CompressedCollection: compressed_page,
    RateCurve: rates_page,
}
"""The page of every class that `streamsvd.load` hands back."""


def result_page(address: str | os.PathLike[str], origin: ResultOrigin) -> Page:
    """The page of a saved result, a model, a collection or a stream.

    Raises
    ------
    StoreError
        If there is nothing of the kind, or it is damaged.
    """
    if is_model(objects_at(address)):
        return model_page(address, origin)
    found = load(address)
    check_grid(found, origin)
    return PAGES[type(found)](found, origin)


def check_grid(found: Any, origin: ResultOrigin) -> None:
    """Refuse a grid that has not as many places as a result has columns.

    Raises
    ------
    SpecError
        It says how many there are.
    """
    if origin.grid is None:
        return
    rows = next(
        (getattr(found, name) for name in ("Vh", "components") if hasattr(found, name)), None
    )
    if rows is None:
        raise SpecError(
            f"grid={origin.grid.extents} is of components, and this result has none. Leave it out."
        )
    places, columns = math.prod(origin.grid.extents), int(rows.shape[1])
    if places != columns:
        raise SpecError(
            f"grid={origin.grid.extents} has {places:,} places, and components have {columns:,} entries. Pass extents whose product is that."
        )
