"""Sums of counts are exact whatever holds them, and what is no count is refused with its place."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import fields
from typing import Any

import dask
import distributed
import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
from streamsvd.cli import app
from streamsvd.report import write_report
from streamsvd.single_cell.mathematics import GeneMoments, moments_of, ranks_of
from streamsvd.single_cell.mathematics.counts import GeneSums, count_entries
from tests.cells.counts import annotated, counts
from tests.matrices import Rows

pytest.importorskip("skmisc")
X = counts(700, 120, seed=1)
DENSE = X.toarray()
ASKED = {"genes": 60, "rank": 4}


def with_explicit_zeros(matrix: Any) -> Any:
    """The same matrix with zeros that are stored."""
    found = sparse.csr_array(matrix).copy()
    found.data[:] = 1.0
    more = sparse.random_array(matrix.shape, density=0.1, rng=np.random.default_rng(0))
    there = sparse.csr_array(found + sparse.csr_array(more))
    there.data[:] = np.asarray(matrix.toarray())[there.nonzero()]
    return there


def write_h5ad(place: Any) -> Any:
    annotated(X).write_h5ad(place / "cells.h5ad")
    return place / "cells.h5ad"


FORMS = {
    "csr": lambda _: X,
    "integers": lambda _: X.astype(np.int64),
    "bytes": lambda _: sparse.csr_array(np.minimum(DENSE, 255).astype(np.uint8)),
    "matrix": lambda _: sparse.csr_matrix(X),
    "explicit zeros": lambda _: with_explicit_zeros(X),
    "dense": lambda _: DENSE,
    "reader": lambda _: Rows(DENSE.astype(np.float64), 70),
    "file": write_h5ad,
}


@pytest.mark.parametrize("form", FORMS)
def test_sums_are_exact_whatever_holds_the_counts(form, tmp_path) -> None:
    if form == "file":
        pytest.importorskip("anndata")
    found = streamsvd.cells(FORMS[form](tmp_path), **ASKED)
    cells, genes = found.cells, found.genes
    np.testing.assert_array_equal(cells.total_counts, DENSE.sum(axis=1, dtype=np.float64))
    np.testing.assert_array_equal(cells.n_genes_by_counts, (DENSE != 0).sum(axis=1))
    np.testing.assert_array_equal(genes.total_counts, DENSE.sum(axis=0, dtype=np.float64))
    np.testing.assert_array_equal(genes.n_cells_by_counts, (DENSE != 0).sum(axis=0))
    np.testing.assert_allclose(genes.variances, DENSE.astype(float).var(axis=0, ddof=1), rtol=1e-12)
    assert cells.total_counts_mt.any() == (form == "file")  # only there genes have names
    expected = streamsvd.cells(X, **ASKED)
    np.testing.assert_array_equal(genes.highly_variable, expected.genes.highly_variable)
    np.testing.assert_allclose(found.s, expected.s, rtol=1e-6)
    assert found.info.warnings == ()


def test_components_are_of_logarithms_of_normalised_counts() -> None:
    found = streamsvd.cells(X, **ASKED, tol=1e-9)
    A = np.log1p(1e4 * DENSE / DENSE.sum(axis=1, dtype=float)[:, None])[
        :, found.genes.highly_variable
    ]
    s = np.linalg.svd(A - A.mean(axis=0), compute_uv=False)[:4]
    c = found.certificate
    assert (c.sigma_lower <= s * (1 + 1e-12)).all()
    assert (s * (1 - 1e-12) <= c.sigma_upper).all()
    np.testing.assert_allclose(found.U.T @ found.U, np.eye(4), atol=1e-6)
    scores = (A - A.mean(axis=0)) @ found.Vh[:, found.genes.highly_variable].T
    np.testing.assert_allclose(found.U * found.s, scores, atol=1e-5 * s[0])


def bits(found: Any) -> list[bytes]:
    arrays = (found.s, found.Vh, found.U, found.genes.variances_norm, found.cells.total_counts)
    return [np.asarray(a).tobytes() for a in arrays]


def test_threads_and_workers_do_not_change_a_bit(tmp_path) -> None:
    """Of counts as they are stored, in several tasks a pass."""
    big = counts(40_000, 400, seed=4)
    place = tmp_path / "cells.zarr"
    group = zarr.create_group(place)
    group.attrs.update(
        {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(big.shape)}
    )
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(big, name), chunks=(70_001,))
    assert streamsvd.plan("cells", place, **ASKED).spans > 1
    found = []
    for threads in (1, 2, 5):
        with dask.config.set(num_workers=threads):
            found.append(bits(streamsvd.cells(place, **ASKED)))
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as machine,
        distributed.Client(machine),
    ):
        found.append(bits(streamsvd.cells(place, **ASKED)))
    assert all(one == found[0] for one in found)


def test_what_was_asked_is_in_the_result(tmp_path) -> None:
    found = streamsvd.cells(X, **ASKED, flavor="seurat", target=500, out=tmp_path / "kept")
    assert (found.options.genes, found.options.target, found.options.flavor) == (60, 500, "seurat")
    again = streamsvd.load(tmp_path / "kept")
    assert isinstance(again, streamsvd.PCA)
    for table in ("genes", "cells"):
        mine, its = getattr(found, table), getattr(again, table)
        for f in fields(mine):
            np.testing.assert_array_equal(
                getattr(mine, f.name), getattr(its, f.name), err_msg=f.name
            )
    assert repr(again).startswith("<CellsResult: 4 components of 700 cells, 60 of 120 genes")
    assert np.isnan(again.Vh[:, ~again.genes.highly_variable]).all()


def test_cells_without_counts_and_genes_without_cells_are_zeros() -> None:
    empty = sparse.csr_array(X).tolil()
    empty[[0, 13]] = 0
    empty[:, 7] = 0
    found = streamsvd.cells(sparse.csr_array(empty), **ASKED)
    assert (found.cells.total_counts[[0, 13]] == 0).all()
    assert np.isnan(found.cells.pct_counts_mt[[0, 13]]).all()
    assert (np.delete(found.cells.pct_counts_mt, [0, 13]) == 0).all()
    assert not found.genes.highly_variable[7]
    assert found.genes.variances_norm[7] == 0
    assert np.isfinite(found.U).all()


@pytest.mark.parametrize("empty", [[0, 13], []])
def test_the_report_and_the_command_tell_of_cells_with_counts(tmp_path, capsys, empty) -> None:
    pytest.importorskip("anndata")
    rows = sparse.csr_array(X).tolil()
    rows[empty] = 0
    annotated(sparse.csr_array(rows)).write_h5ad(tmp_path / "cells.h5ad")
    place = str(tmp_path / "PCA.zarr")
    asked = ["--genes", "60", "--rank", "4", "--out", place, "--quiet", "--json"]
    assert app.run(["cells", str(tmp_path / "cells.h5ad"), *asked]) == 0
    told = json.loads(capsys.readouterr().out)["pct_counts_mt"]
    shares = streamsvd.load(place).cells.pct_counts_mt
    assert np.isnan(shares).sum() == len(empty)
    assert told == pytest.approx(np.nanmedian(shares))
    write_report(place, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text().partition("Sums of cells")[2]
    assert "pct_counts_mt" in page.partition("</table>")[0]
    assert "nan" not in page.partition("</table>")[0].lower()


def changed(row: int, column: int, value: float) -> Any:
    found = X.astype(np.float64).tolil()
    found[row, column] = value
    return sparse.csr_array(found)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0.5, streamsvd.SpecError, r'0\.5 at row 611, column 17: flavor="seurat_v3" takes counts, not'),
        (-2.0, streamsvd.SpecError, r"-2 at row 611, column 17: counts are not negative"),
        (np.nan, streamsvd.NonFiniteError, r"NaN at row 611, column 17.*leave out the cell"),
        (np.inf, streamsvd.NonFiniteError, r"Inf at row 611, column 17"),
    ],
)  # fmt: skip
def test_what_is_no_count_is_named_with_its_place(value, error, words, tmp_path) -> None:
    for A in (changed(611, 17, value), changed(611, 17, value).toarray()):
        with pytest.raises(error, match=words):
            streamsvd.cells(A, **ASKED, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    if value == 0.5:  # which the other flavour takes
        assert streamsvd.cells(changed(611, 17, value), **ASKED, flavor="seurat").rank == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"genes": 121}, r"genes=121 is more than the 120 genes of .*Pass genes <= 120"),
        ({"genes": 3, "rank": 4}, r"rank=4 is more than the genes=3"),
        ({"genes": 0}, r"genes=0 is no count"),
        ({"rank": 2.5}, r"rank=2\.5 is no count"),
        ({"flavor": "cell_ranger"}, r"flavor='cell_ranger' is unknown. Pass one of seurat_v3, seurat"),
        ({"target": -1}, r"target=-1 is no sum of counts"),
        ({"span": 0}, r"span=0 is no share of the genes"),
        ({"mito": None}, r"mito=None is no text"),
        ({"span": 0.01}, r"a local fit of span=0\.01 takes in 1\.2 of the 120 genes that vary"),
        ({"save_seconds": -1}, r"save_seconds=-1 is no time"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant_say_why(options, words) -> None:
    with pytest.raises((streamsvd.SpecError, streamsvd.ShapeError), match=words):
        streamsvd.cells(X, **{**ASKED, **options})


def test_counts_that_are_stored_by_genes_are_refused() -> None:
    with pytest.raises(
        streamsvd.SpecError, match=r"stored by genes \(csc\).*streamsvd convert.*tocsr\(\)"
    ):
        streamsvd.cells(sparse.csc_array(X), **ASKED)


@pytest.mark.parametrize("flavor", ["seurat", "seurat_v3"])
def test_no_more_genes_are_kept_than_vary(flavor) -> None:
    for nothing in (sparse.csr_array((60, 30)), np.zeros((60, 30))):
        with pytest.raises(streamsvd.SpecError, match="0 genes .*vary.* Pass counts"):
            streamsvd.cells(nothing, genes=10, rank=2, flavor=flavor)
    some = DENSE.copy()
    some[:, 70:] = 0
    varying = int((some.max(axis=0) > 0).sum())
    asked = {"genes": varying + 1, "rank": 3, "flavor": flavor, "span": 0.6}
    with pytest.raises(streamsvd.SpecError, match=rf"{varying} genes .*vary.*genes <= {varying}"):
        streamsvd.cells(some, **asked)
    found = streamsvd.cells(some, **asked | {"genes": varying})
    assert found.genes.highly_variable.sum() == varying


@pytest.mark.parametrize("form", ["csr", "dense", "npy", "opened"])
def test_what_has_no_layers_says_so(form, tmp_path) -> None:
    np.save(tmp_path / "a.npy", DENSE)
    given = {"csr": X, "dense": DENSE, "npy": tmp_path / "a.npy", "opened": streamsvd.open(DENSE)}
    with pytest.raises(streamsvd.SpecError, match="layer='no' was asked of .* has no layers"):
        streamsvd.cells(given[form], **ASKED, layer="no")


def test_genes_that_do_not_vary_have_no_trend() -> None:
    with pytest.raises(streamsvd.SpecError, match="0 genes vary, of which there is no trend"):
        streamsvd.cells(np.full((30, 10), 3), genes=4, rank=2)


def test_the_library_that_is_absent_is_named_with_its_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "skmisc.loess", None)
    with pytest.raises(
        streamsvd.StoreError, match=r"skmisc.loess.*pip install 'streamsvd\[cells\]'"
    ):
        streamsvd.cells(X, **ASKED)
    assert streamsvd.cells(X, **ASKED, flavor="seurat").rank == 4


@pytest.mark.parametrize("span", [0.001, 0.04])
def test_a_local_fit_of_hardly_any_genes_is_refused_before_it_is_made(span) -> None:
    with pytest.raises(
        streamsvd.SpecError, match=rf"span={span} takes in .* and needs 6. Pass span= of at least"
    ):
        streamsvd.cells(X, **ASKED, span=span)


def test_features_of_several_kinds_are_refused(tmp_path) -> None:
    h5py = pytest.importorskip("h5py")
    path, n = tmp_path / "a.h5", X.shape[1]
    columns = sparse.csc_array(X.T)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["shape"] = np.array(columns.shape)
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(columns, name)
        group["barcodes"] = np.array([f"C{i}" for i in range(X.shape[0])], "S8")
        features = group.create_group("features")
        features["id"] = features["name"] = np.array([f"G{j}" for j in range(n)], "S8")
        features["genome"] = np.array(["hg"] * n, "S8")
        kinds = ["Gene Expression"] * (n - 3) + ["Antibody Capture"] * 3
        features["feature_type"] = np.array(kinds, "S20")
    words = r"several kinds \(Antibody Capture, Gene Expression\).*read_10x_h5"
    with pytest.raises(streamsvd.SpecError, match=words):
        streamsvd.cells(path, **ASKED)
    with h5py.File(path, "r+") as file:
        file["matrix/features/feature_type"][:] = b"Gene Expression"
    assert streamsvd.cells(path, **ASKED).rank == 4


def test_a_result_is_held_against_its_counts_again(tmp_path) -> None:
    streamsvd.cells(X, **ASKED, out=tmp_path / "cells")
    assert streamsvd.verify(tmp_path / "cells", X).agrees
    other = X.toarray() if sparse.issparse(X) else np.array(X)
    other[:, streamsvd.load(tmp_path / "cells").genes.highly_variable] //= 2
    assert streamsvd.verify(tmp_path / "cells", sparse.csr_array(other)).findings != ()


def test_names_say_which_genes_are_mitochondrial() -> None:
    pytest.importorskip("anndata")
    adata = annotated(X)
    found = streamsvd.cells(adata, **ASKED)
    share = 100 * DENSE[:, :13].sum(axis=1, dtype=float) / DENSE.sum(axis=1, dtype=float)
    np.testing.assert_allclose(found.cells.pct_counts_mt, share, rtol=1e-12)
    assert found.genes.mt.sum() == 13
    assert not streamsvd.cells(adata, **ASKED, mito="").genes.mt.any()
    assert (
        streamsvd.cells(adata, **ASKED, mito="GENE-1").genes.mt.sum() == 27
    )  # 13 to 19, 100 to 119


def test_cells_that_come_later_go_through_the_same() -> None:
    found = streamsvd.cells(X, **ASKED)
    np.testing.assert_allclose(
        found.transform(X[:50]), found.U[:50] * found.s, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("copy", [False, True])
def test_an_object_is_filled_under_the_names_of_scanpy(copy, tmp_path) -> None:
    pytest.importorskip("anndata")
    adata = annotated(X)
    adata.layers["counts"], adata.X = adata.X, np.log1p(adata.X)
    filled = streamsvd.anndata.cells(adata, 60, 4, layer="counts", key_added="mine", copy=copy)
    assert (filled is None) != copy
    target = filled if copy else adata
    assert target.obsm["mine"].shape == (700, 4)
    assert target.uns["mine"]["params"]["layer"] == "counts"
    np.testing.assert_array_equal(target.obs.total_counts, DENSE.sum(axis=1, dtype=float))
    if copy:
        assert list(adata.obs) == []
    adata.write_h5ad(tmp_path / "cells.h5ad")
    of_file = streamsvd.anndata.cells(tmp_path / "cells.h5ad", 60, 4, layer="counts")
    np.testing.assert_array_equal(of_file.genes.highly_variable, target.var.highly_variable)
    with pytest.raises(streamsvd.SpecError, match="is no AnnData object"):
        streamsvd.anndata.cells(X, 60, 4)


def test_an_object_of_other_cells_is_refused() -> None:
    pytest.importorskip("anndata")
    adata = annotated(X)
    found = streamsvd.cells(adata, **ASKED)
    other = adata[::-1].copy()
    with pytest.raises(streamsvd.SpecError, match="in another order"):
        found.to_anndata(other)
    assert list(other.obs) == []


def test_passes_are_numbered_through_all_parts() -> None:
    from streamsvd.engine.events import PassDone, PassStarted

    events: list[Any] = []
    streamsvd.cells(X, **ASKED, callback=events.append)
    started = [(e.number, e.purpose) for e in events if isinstance(e, PassStarted)]
    assert [number for number, _ in started] == [1, 2, 3, 4]
    assert [n for n, _ in started] == [e.number for e in events if isinstance(e, PassDone)]


def test_the_first_of_equal_genes_is_chosen() -> None:
    ranks = ranks_of(np.array([1.0, 3.0, np.nan, 3.0, 1.0]), 3)
    np.testing.assert_array_equal(ranks.chosen, [True, True, False, True, False])
    np.testing.assert_array_equal(ranks.rank[[1, 3, 0]], [0, 1, 2])


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    whole = count_entries(X, np.zeros(120, bool))[1]
    parts = GeneSums.zero(120)
    for a, b in ((0, 13), (13, 500), (500, 700)):
        parts.add(count_entries(X[a:b], np.zeros(120, bool))[1])
    for f in fields(whole):
        np.testing.assert_array_equal(getattr(whole, f.name), getattr(parts, f.name))
    found = moments_of(whole, 700)
    assert isinstance(found, GeneMoments)
    np.testing.assert_allclose(found.mean, DENSE.mean(axis=0, dtype=float), rtol=1e-14)
