"""A generated matrix has the singular values it claims, whatever the panels it is made in."""

import os
import subprocess
import sys

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks import data
from streamsvd.errors import ShapeError, SpecError
from streamsvd.testing.spectra import DTYPES, SPECTRA, KnownMatrix, spectrum

SHAPES = [(300, 40), (64, 64), (41, 97), (9, 8), (8, 8), (8, 9), (1, 5), (7, 1), (2, 2), (1, 1)]


def rounding(A):
    """What the dtype can hold, of the largest entry."""
    largest = 1e6 if A.spectrum == "offset" else A.s[0]
    return 8 * float(np.finfo(A.dtype).eps) * largest * np.sqrt(max(A.shape))


def centred(A):
    X = A.rows(0, A.n_rows)
    return X.astype(np.result_type(X.dtype, np.float64)) - A.c


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SPECTRA)
def test_singular_values_and_vectors_are_those_of_lapack(name, shape, dtype):
    A = KnownMatrix(name, *shape, dtype=dtype, seed=3)
    X, r = centred(A), min(shape)
    assert A.rows(0, shape[0]).dtype == dtype
    assert_allclose(np.linalg.svd(X, compute_uv=False), A.s, rtol=0, atol=rounding(A))
    U, Vh = A.U(0, shape[0], r), A.Vh(r)
    assert_allclose(U.conj().T @ U, np.eye(r), atol=1e-12)
    assert_allclose(Vh @ Vh.conj().T, np.eye(r), atol=1e-12)
    assert_allclose((U * A.s) @ Vh, X, rtol=0, atol=rounding(A))


@given(
    st.sampled_from(SPECTRA),
    st.integers(1, 70),
    st.integers(1, 50),
    st.sampled_from(DTYPES),
    st.data(),
)
def test_rows_do_not_depend_on_the_panel_they_are_made_in(name, m, n, dtype, choose):
    A = KnownMatrix(name, m, n, dtype=dtype, seed=choose.draw(st.integers(0, 2**40)))
    start = choose.draw(st.integers(0, m))
    stop = choose.draw(st.integers(start, m))
    # BLAS may multiply a single complex row by another kernel: the last digit is its own
    assert_allclose(
        A.rows(start, stop),
        A.rows(0, m)[start:stop],
        rtol=1e-6 if np.finfo(dtype).bits == 32 else 1e-14,
    )


def test_rows_are_the_same_across_internal_blocks():
    A = KnownMatrix("pow1", 300, 2000)  # 65 rows to a block
    assert_array_equal(A.rows(63, 200), A.rows(0, 300)[63:200])


def test_rows_are_clipped_as_a_slice_is():
    A = KnownMatrix("pow1", 10, 3)
    assert A.rows(8, 99).shape == (2, 3)
    assert A.rows(5, 5).shape == (0, 3)


def test_a_seed_decides_everything():
    A, B = (KnownMatrix("slow", 30, 20, seed=seed) for seed in (1, 2))
    assert_array_equal(A.rows(0, 30), KnownMatrix("slow", 30, 20, seed=1).rows(0, 30))
    assert np.abs(A.rows(0, 30) - B.rows(0, 30)).max() > 0.1 * np.abs(A.rows(0, 30)).max()


@pytest.mark.parametrize("name", ["pow1", "slow", "step", "drift", "spikes", "geometric"])
def test_float32_keeps_the_leading_50_to_1e_6(name):
    X = centred(KnownMatrix(name, 4000, 300))
    assert_allclose(np.linalg.svd(X, compute_uv=False)[:50], spectrum(name, 50), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "ratio", "rtol"), [("graded4", 1e-4, 1e-5), ("graded5", 1e-5, 1e-4)]
)
def test_graded_spectra_fall_by_their_ratio_over_50(name, ratio, rtol):
    s = np.linalg.svd(centred(KnownMatrix(name, 2000, 200)), compute_uv=False)
    assert s[49] / s[0] == pytest.approx(ratio, rel=rtol)


def test_columns_sum_to_zero_but_for_their_offset():
    for dtype in ("float64", "complex128"):
        assert abs(KnownMatrix("slow", 900, 30, dtype).rows(0, 900).sum(axis=0)).max() < 1e-12
    A = KnownMatrix("offset", 900, 30, "float64")
    X = A.rows(0, 900)
    assert_allclose(X.mean(axis=0), A.c, rtol=1e-12)
    assert (A.c > 0.9e6).all()
    assert (A.c < 1.1e6).all()
    assert np.mean(X.var(axis=0)) == pytest.approx(1, rel=1e-6)


def test_drift_is_sorted_along_its_leading_component_and_its_covariance_drifts():
    A = KnownMatrix("drift", 6000, 60, "float64")
    U = A.U(0, 6000, 5)
    assert (np.diff(U[:, 0]) < 0).all()
    first, middle, last = (
        np.corrcoef(U[a : a + 300, 1], U[a : a + 300, 2])[0, 1] for a in (0, 2850, 5700)
    )
    assert first > 0.9
    assert abs(middle) < 0.2
    assert last < -0.9


@pytest.mark.parametrize("name", ["pow1", "step"])
def test_rows_of_the_others_are_in_no_order(name):
    """A run of rows has the spread of a Gaussian sample (Marchenko, Pastur), not of smooth columns."""
    U = KnownMatrix(name, 50_000, 100).U(20_000, 21_000, 100) * np.sqrt(50)
    s = np.linalg.svd(U, compute_uv=False)
    assert s.max() < 1 + np.sqrt(0.1) + 0.1
    assert s.min() > 1 - np.sqrt(0.1) - 0.1


@pytest.mark.parametrize("name", SPECTRA)
def test_spectra_descend_and_are_positive(name):
    s = spectrum(name, 2000)
    assert (np.diff(s) <= 0).all()
    assert (s > 0).all()
    assert_array_equal(spectrum(name, 60), s[:60])


def test_what_is_not_made_here_is_refused():
    with pytest.raises(SpecError, match=r"no spectrum is called 'pow2'\. Use one of pow1, slow"):
        KnownMatrix("pow2", 3, 3)
    with pytest.raises(SpecError, match=r"dtype='int8' is not made here\. Use float32"):
        KnownMatrix("pow1", 3, 3, dtype="int8")
    with pytest.raises(ShapeError, match=r"0 x 3 has no entries\. Ask for at least 1 x 1"):
        KnownMatrix("pow1", 0, 3)


def test_panels_cover_the_matrix_in_order():
    A = KnownMatrix("pow1", 10, 3)
    starts, panels = zip(*data.panels(A, 4), strict=True)
    assert starts == (0, 4, 8)
    assert_array_equal(np.concatenate(panels), A.rows(0, 10))


@pytest.mark.parametrize("codec", ["zstd", "none"])
@pytest.mark.parametrize("chunks", [None, (70, 60), (64, 7), (1000, 1000)], ids=str)
def test_the_stored_matrix_is_the_generated_one(tmp_path, chunks, codec):
    path = data.make(tmp_path / "a.zarr", "slow", 500, 60, chunks=chunks, codec=codec, seed=4)
    z = zarr.open_array(path, mode="r")
    assert_array_equal(z[...], KnownMatrix("slow", 500, 60, seed=4).rows(0, 500))
    assert z.chunks == ((500, 60) if chunks is None else chunks)
    assert bool(z.compressors) == (codec == "zstd")
    assert {p.name for p in tmp_path.iterdir()} == {"a.zarr", "a.zarr.truth.npz"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["pow1", "spikes", "offset"])
@pytest.mark.parametrize("shape", [(700, 120), (50, 80)], ids=str)
def test_the_truth_is_that_of_the_stored_entries(tmp_path, name, shape, dtype):
    path = data.make(tmp_path / "a.zarr", name, *shape, dtype=dtype)
    known, X = data.truth(path), zarr.open_array(path, mode="r")[...]
    single = dtype in ("float32", "complex64")
    assert known.kind == ("gram" if single else "construction")
    X = X.astype(np.result_type(X.dtype, np.float64)) - known.mean
    s = np.linalg.svd(X, compute_uv=False)
    tall = slice(None) if shape[0] > shape[1] else slice(-1)  # centring a wide one costs a rank
    atol = 1e-9 * s[0] if not (name == "offset" and not single) else 1e-6
    assert_allclose(known.s[tall], s[tall], rtol=1e-9, atol=atol)
    assert known.Vh.shape == (min(100, *shape), shape[1])
    k = 10 if name == "spikes" else 20  # beyond, the vectors of equal values are anyone's
    assert_allclose(np.linalg.norm(X @ known.Vh[:k].conj().T, axis=0), known.s[:k], rtol=1e-6)
    largest = np.take_along_axis(known.Vh, np.abs(known.Vh).argmax(axis=1)[:, None], axis=1)
    assert (largest.real > 0).all()
    assert_allclose(largest.imag, 0, atol=1e-12)


def test_the_truth_can_be_had_either_way(tmp_path):
    exact = data.truth(data.make(tmp_path / "a.zarr", "pow1", 400, 50, "float64", exact=True))
    built = data.truth(data.make(tmp_path / "b.zarr", "pow1", 400, 50, "float64", exact=False))
    assert (exact.kind, built.kind) == ("gram", "construction")
    assert_allclose(exact.s, built.s, rtol=1e-9)
    assert_allclose(exact.Vh[:5], built.Vh[:5], atol=1e-9)


def test_making_it_again_reuses_what_is_there(tmp_path):
    path = data.make(tmp_path / "a.zarr", "pow1", 50, 20)
    written = (path / "zarr.json").stat().st_mtime_ns
    assert data.make(path, "pow1", 50, 20) == path
    assert (path / "zarr.json").stat().st_mtime_ns == written
    with pytest.raises(
        SpecError, match=r"asked for .*'seed': 1.*Remove it, or choose another path"
    ):
        data.make(path, "pow1", 50, 20, seed=1)


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "precious").touch()
    with pytest.raises(SpecError, match=r"a\.zarr exists and is no zarr array"):
        data.make(tmp_path / "a.zarr", "pow1", 50, 20)
    assert (tmp_path / "a.zarr" / "precious").exists()


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(data.KnownMatrix, "rows", fail)
    with pytest.raises(OSError, match="no space left"):
        data.make(tmp_path / "a.zarr", "pow1", 50, 20)
    assert not list(tmp_path.iterdir())


def test_the_cache_folder_names_a_data_set_after_its_arguments(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STREAMSVD_CACHE", str(tmp_path))
    paths = {
        data.make(None, "pow1", 50, 20),
        data.make(None, "pow1", 50, 20, seed=1),
        data.make(None, "pow1", 50, 20, codec="none"),
        data.make(None, "pow1", 50, 20, chunks=(5, 20)),
        data.make(None, "pow1", 50, 20, exact=False),
    }
    assert len(paths) == 5
    assert all(path.parent == tmp_path / "data" for path in paths)
    data.main(["pow1", "50", "20", "--chunks", "5", "20"])
    assert capsys.readouterr().out.strip() in map(str, paths)
    monkeypatch.delenv("STREAMSVD_CACHE")
    assert data.cache_folder().parts[-2:] == (".cache", "streamsvd")


@pytest.mark.slow
def test_writing_is_fast_and_its_memory_does_not_grow(tmp_path):
    """400 MB of matrix take less than 150 MiB beside the imports, and 4 CPU seconds."""
    program = (
        "import sys\n"
        "from benchmarks import data, peers\n"
        "work = lambda: data.make(sys.argv[1], 'slow', 50_000, 2_000, exact=False)\n"
        "cost = peers.measured(work)[1]\n"
        "print(cost['peak_rss_bytes'], cost['cpu_s'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.zarr")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    peak_bytes, cpu_s = map(float, done.stdout.split())
    assert peak_bytes < 150 * 2**20
    assert cpu_s < 4
