"""The matrices that memory is measured on are what they are said to be."""

import numpy as np
import pytest
import zarr

from benchmarks import data, memory
from benchmarks.fresh import RunFailed


def test_a_stacked_matrix_shares_its_chunks_and_its_values_are_known(tmp_path):
    path = data.make(tmp_path / "a.zarr", "pow1", 60, 8, chunks=(20, 5))
    ten = memory.stacked(path, 10)
    once, all_ = zarr.open_array(path, mode="r")[...], zarr.open_array(ten, mode="r")[...]
    np.testing.assert_array_equal(all_, np.tile(once, (10, 1)))
    np.testing.assert_allclose(
        np.linalg.svd(all_.astype(float), compute_uv=False), data.truth(ten).s, rtol=1e-6
    )
    assert (ten / "c" / "29" / "1").samefile(path / "c" / "2" / "1")
    assert memory.stacked(path, 10) == ten
    with pytest.raises(ValueError, match="ends within a chunk: 50 rows in chunks of 20"):
        memory.stacked(data.make(tmp_path / "b.zarr", "pow1", 50, 8, chunks=(20, 8)), 2)


@pytest.mark.parametrize(
    "case",
    [
        memory.Case((50, 7), (8, 3), "uint8"),
        memory.Case((50, 7), (8, 3), "float16", "gzip", shards=(16, 6)),
        memory.Case((50, 7), (8, 7), "complex64", "npy", nans=0.3),
    ],
    ids=str,
)
def test_the_matrix_of_a_case_has_its_shape_type_and_storage(case, tmp_path):
    path = memory.write(case, tmp_path / "matrix")
    A = np.load(path) if case.codec == "npy" else zarr.open_array(path, mode="r")
    assert (A.shape, A.dtype) == (case.shape, case.dtype)
    assert np.isnan(np.asarray(A[...], dtype=complex)).any() == (case.nans > 0)
    if case.codec != "npy":
        assert (A.chunks, A.shards) == (case.chunks, case.shards)


def test_random_cases_repeat_themselves_and_cover_every_door():
    cases = [memory.random_case(memory.Dice([7, i])) for i in range(200)]
    assert cases == [memory.random_case(memory.Dice([7, i])) for i in range(200)]
    assert {case.through for case in cases} == {"path", "store", "dask", "reader"}
    assert {case.dtype for case in cases} == set(memory.DTYPES)
    for case in cases:
        assert all(1 <= chunk <= size for chunk, size in zip(case.chunks, case.shape, strict=True))


def test_random_cases_that_break_the_law_or_crash_are_counted(monkeypatch, capsys, cache):
    figures = {
        "projected_bytes": 2**20, "budget_bytes": 2**20, "status": "converged", "wall_s": 1, "route": "gram",
        "axis": "rows", "passes": 1, "planned_passes": 1,
    }  # fmt: skip

    outcomes = iter(
        [2**19, 2**21, RunFailed("died"), RunFailed("streamsvd.errors.BudgetError: more")]
    )

    def measure(case, folder):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return {**figures, "peak_rss_bytes": outcome}

    monkeypatch.setattr(memory, "measure", measure)
    assert memory.fuzz(4, 0, 1e4, 1e5) == 2
    out = capsys.readouterr().out
    assert [line.split()[1].rstrip(":") for line in out.splitlines()] == [
        "ok",
        "BROKEN",
        "BROKEN",
        "ok",
    ]
