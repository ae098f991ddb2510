"""Which page a result has, by its class."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from streamsvd.collections.compressed import CompressedCollection
from streamsvd.collections.rates import RateCurve
from streamsvd.collections.result import ClusterResult
from streamsvd.errors import SpecError
from streamsvd.factor.result import PCA, SVD
from streamsvd.factor.rotation_result import Rotation
from streamsvd.graphs.result import Embedding, GraphEigenvectors
from streamsvd.info import Info
from streamsvd.kernels.nystrom import NystromResult
from streamsvd.kernels.ridge import KernelRidgeResult
from streamsvd.models.model import Model
from streamsvd.models.verify import Verification
from streamsvd.report.drawing.charts import cut_middle
from streamsvd.report.parts import Cell, Page, Section, Table
from streamsvd.report.results.cells import cells_page
from streamsvd.report.results.collections import cluster_page, compressed_page, rates_page
from streamsvd.report.results.costs import cost_section
from streamsvd.report.results.factorisations import svd_page, verify_page
from streamsvd.report.results.graphs import eigenvectors_page, embedding_page
from streamsvd.report.results.kernels import nystrom_page, ridge_page
from streamsvd.report.results.models import model_page
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import show_option
from streamsvd.report.results.rotations import rotation_page
from streamsvd.report.results.rows import least_squares_page, sample_page
from streamsvd.report.results.streams import open_stream_page, stream_page
from streamsvd.rows.lstsq import LeastSquaresResult
from streamsvd.rows.sample_rows import RowSample
from streamsvd.single_cell.result import CellsResult
from streamsvd.store.objects import objects_at
from streamsvd.store.results.loading import load
from streamsvd.store.versions import is_model
from streamsvd.streams.result import TopEigenvectorsResult
from streamsvd.streams.stream import TopEigenvectorStream

PAGES: dict[type, Callable[[Any, ResultOrigin], Page]] = {
    SVD: svd_page,
    PCA: svd_page,
    CellsResult: cells_page,
    Rotation: rotation_page,
    Verification: verify_page,
    TopEigenvectorsResult: stream_page,
    TopEigenvectorStream: open_stream_page,
    NystromResult: nystrom_page,
    KernelRidgeResult: ridge_page,
    LeastSquaresResult: least_squares_page,
    RowSample: sample_page,
    Embedding: embedding_page,
    GraphEigenvectors: eigenvectors_page,
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
        check_grid(Model.open(address).spec.width, origin)
        return model_page(address, origin)
    found = load(address)
    rows = next(
        (getattr(found, name) for name in ("Vh", "components") if hasattr(found, name)), None
    )
    check_grid(None if rows is None else int(rows.shape[1]), origin)
    return PAGES.get(type(found), plain_page)(found, origin)


def check_grid(columns: int | None, origin: ResultOrigin) -> None:
    """Refuse a grid that has not as many places as components have entries; None where there are no components.

    Raises
    ------
    SpecError
        It says how many there are.
    """
    if origin.grid is None:
        return
    extents, places = origin.grid.extents, math.prod(origin.grid.extents)
    if columns is None:
        raise SpecError(f"grid={extents} is of components, and this result has none. Leave it out.")
    if places != columns:
        raise SpecError(
            f"grid={extents} has {places:,} places, and components have {columns:,} entries. Pass extents whose product is that."
        )


def plain_page(found: Any, origin: ResultOrigin) -> Page:
    """The page of a result of a kind that has none of its own: its fields, and how it came about."""
    info = getattr(found, "info", None)
    verdict = (
        info.status.advice
        if isinstance(info, Info)
        else "It was read, and nothing in it is damaged."
    )
    values = (
        [(f.name, getattr(found, f.name)) for f in fields(found)] if is_dataclass(found) else []
    )
    rows = [
        [Cell(name), Cell(cut_middle(show_option(value), 200))]
        for name, value in values
        if name != "info"
    ]
    sections = [Section("What it holds", (), (), (), [Table("Fields", ["field", "value"], rows)])]
    sections += [cost_section(info)] if isinstance(info, Info) else []
    return Page(
        origin.title,
        f"result, {type(found).__name__}",
        verdict,
        "plain",
        getattr(info, "warnings", ()),
        sections,
    )
