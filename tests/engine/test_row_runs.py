"""Rows that are read entry by entry: runs of about as many entries, whose cut depends on the matrix alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import streamsvd
from streamsvd import BudgetError
from streamsvd.engine.device import NumpyBackend
from streamsvd.engine.row_runs import as_compressed_rows, schedule_row_runs


class Watch:
    """The circumstances of a task that nobody stops."""

    sink = None

    def check(self) -> None:
        """Go on."""


def plan(A, memory=1 << 30, **asked):
    return schedule_row_runs(
        streamsvd.open(A), memory, work=lambda entries, rows: 8 * entries, what="counting", **asked
    )


@pytest.mark.parametrize("kind", ["csr", "dense"])
def test_every_row_comes_once_in_runs_that_fit(kind):
    A = sparse.random_array((5000, 90), density=0.3, rng=np.random.default_rng(0), format="csr")
    schedule = plan(A if kind == "csr" else A.toarray(), entries=4000)
    reader, found = schedule.reader, []
    for span in reader.spans:
        for block in reader.blocks(span, NumpyBackend(), Watch()):
            rows = as_compressed_rows(block.data)
            assert block.first == sum(part.shape[0] for part in found)
            assert rows.nnz <= 4000
            found.append(rows.copy())
    assert (sparse.vstack(found) != A).nnz == 0
    assert sum(reader.cost([span], None) for span in reader.spans) <= schedule.pass_bytes


def test_the_cut_depends_on_the_matrix_alone():
    A = sparse.random_array((20_000, 90), density=0.3, rng=np.random.default_rng(0), format="csr")
    few, many = plan(A, 60 << 20), plan(A)
    assert few.layout == many.layout
    assert few.projected_bytes <= 60 << 20
    with pytest.raises(BudgetError, match=r"counting from .* Pass memory=") as refused:
        plan(A, 1 << 20)
    assert plan(A, refused.value.needs).projected_bytes <= refused.value.needs


@pytest.mark.parametrize("axis", ["csr", "csc"])
def test_an_entry_that_is_no_number_is_named(axis):
    A = sparse.random_array((400, 90), density=0.3, rng=np.random.default_rng(0), format="csr")
    A.data[700] = np.nan
    row, column = int(np.searchsorted(A.indptr, 700, side="right")) - 1, int(A.indices[700])
    reader = plan(A.asformat(axis)).reader
    with pytest.raises(streamsvd.NonFiniteError, match=f"row {row}, column {column}"):
        for span in reader.spans:
            list(reader.blocks(span, NumpyBackend(), Watch()))


def test_rows_of_half_precision_are_taken():
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(1.0, 1.0, 40) * rng.gamma(2.0, 0.5, (90, 1)))
    half, single = counts.astype(np.float16), counts.astype(np.float32)
    for flavor in ("seurat", "seurat_v3"):
        if flavor == "seurat_v3":
            pytest.importorskip("skmisc")
        asked = {"genes": 30, "rank": 3, "flavor": flavor, "span": 0.6}
        found, expected = (streamsvd.cells(A, **asked) for A in (half, single))
        np.testing.assert_array_equal(found.genes.highly_variable, expected.genes.highly_variable)
        np.testing.assert_allclose(found.s, expected.s, rtol=1e-4)
    found, expected = (
        streamsvd.svd(streamsvd.apply_steps(A, ["normalize", "log1p"]), 3).s for A in (half, single)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3)
