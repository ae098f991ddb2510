"""What a model says after any history of blocks, against LAPACK on all rows at once."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd import IncrementalSVD, Model, NonFiniteError, ShapeError, SpecError, StoreError
from streamsvd.engine.events import ResultWritten
from streamsvd.models import repair_model
from streamsvd.models.mathematics import incremental
from streamsvd.testing.spectra import KnownMatrix

M, N, K = 600, 40, 6


@pytest.fixture(scope="module", autouse=True)
def narrow():
    """Ten directions beyond the rank, for the default would keep all that such small matrices have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "LEAST", 10)
        patch.setattr(incremental, "ENOUGH", 10)
        yield


@pytest.fixture(scope="module")
def A():
    rng = np.random.default_rng(7)
    V = np.linalg.qr(rng.standard_normal((N, N)))[0]
    return (rng.standard_normal((M, N)) * 0.7 ** np.arange(N)) @ V + rng.standard_normal(N)


def absorbed(path, A, cuts, **options):
    model = Model.create(path, K, **options)
    for i, rows in enumerate(np.split(A, cuts)):
        model.update(rows, f"block-{i}")
    return model


def reference(A, center):
    return np.linalg.svd(A - (A.mean(axis=0) if center else 0), full_matrices=False)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 3, 4], [100, 101, 400], [299, 300]])
def test_factors_are_those_of_all_rows_within_what_is_proved(A, tmp_path, cuts, center):
    model = absorbed(tmp_path / "m", A, cuts, center=center, u=True)
    U, s, Vh = reference(A, center)
    c = model.certificate
    assert (c.sigma_lower <= s[:K]).all()
    assert (s[:K] <= c.sigma_upper).all()
    rows = A - (A.mean(axis=0) if center else 0)
    error = np.linalg.norm(rows - (np.asarray(model.U) * model.s) @ model.Vh)
    assert error == pytest.approx(c.frobenius_error, rel=1e-9)
    assert model.optimal_error_lower <= np.linalg.norm(s[K:]) <= error * (1 + 1e-12)
    gram = np.asarray(model.U).T @ np.asarray(model.U)
    np.testing.assert_allclose(gram, np.eye(K), atol=1e-12)
    if center:
        np.testing.assert_allclose(model.mean, A.mean(axis=0), rtol=1e-12)
    else:
        assert model.mean is None
    assert model.n_rows == M
    assert abs(np.abs(np.sum(U[:, 0] * np.asarray(model.U)[:, 0])) - 1) < 1e-6
    del Vh


def test_a_reopened_model_goes_on_to_the_same_bits(A, tmp_path):
    whole = absorbed(tmp_path / "whole", A, [150, 300, 450], center=True, u=True)
    for i, rows in enumerate(np.split(A, [150, 300, 450])):
        model = (
            Model.open(tmp_path / "parts")
            if i
            else Model.create(tmp_path / "parts", K, center=True, u=True)
        )
        model.update(rows, f"block-{i}")
    again = Model.open(tmp_path / "parts")
    for name in ("s", "Vh", "mean"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(again, name))
    np.testing.assert_array_equal(np.asarray(whole.U), np.asarray(again.U))
    assert whole.ledger == again.ledger


@given(st.lists(st.integers(0, M), max_size=6), st.booleans(), st.booleans())
@settings(max_examples=15)
def test_rows_of_u_are_read_as_they_would_be_whole(A, tmp_path_factory, cuts, center, forget):
    path = tmp_path_factory.mktemp("u") / "m"
    model = absorbed(
        path, A, sorted(set(cuts) - {0, M}), center=center, u=True, forget=0.9 if forget else 1.0
    )
    whole = np.asarray(model.U)
    assert whole.shape == (M, K)
    for rows in (
        slice(0, 1),
        slice(100, 400),
        slice(None, None, 7),
        slice(M - 1, None),
        slice(5, 5),
    ):
        np.testing.assert_allclose(model.U[rows], whole[rows], atol=1e-14)
    np.testing.assert_allclose(model.U[-1], whole[-1], atol=1e-14)
    np.testing.assert_allclose(model.U[10:20, 2], whole[10:20, 2], atol=1e-14)


def test_a_known_block_is_not_absorbed_again_and_another_of_its_name_is_refused(A, tmp_path):
    model = absorbed(tmp_path / "m", A, [300])
    before = model.version
    done = model.update(A[:300], "block-0")
    assert (done.skip_reason, done.n_absorbed, done.version) == ("known", 0, before)
    with pytest.raises(SpecError, match="'block-0' is in the model with other content"):
        model.update(A[:300] + 1, "block-0")
    with pytest.raises(SpecError, match="other content"):
        model.update(A[:299], "block-0")
    with pytest.raises(SpecError, match="is no name of a block"):
        model.update(A[:300], "@0-300")
    assert model.version == before


def test_the_cut_of_a_block_by_memory_does_not_change_its_identity(A, tmp_path):
    model = Model.create(tmp_path / "m", K, u=True)
    big = np.tile(A, (40, 1))
    done = model.update(big, "big", memory="48MiB")
    assert done.versions == 1
    assert len(model.blocks) > 1
    assert model.update(big, "big", memory="1GiB").skip_reason == "known"
    error = np.linalg.norm(big - (np.asarray(model.U) * model.s) @ model.Vh)
    assert error == pytest.approx(model.certificate.frobenius_error, rel=1e-9)


def test_a_growing_array_gives_the_rows_beyond_those_absorbed(A, tmp_path):
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(200, N), chunks=(50, N), dtype="f8")
    array[:] = A[:200]
    seen = []
    done = streamsvd.update(tmp_path / "m", tmp_path / "a.zarr", rank=K, callback=seen.append)
    assert done.n_absorbed == 200
    assert [e for e in seen if isinstance(e, ResultWritten)]
    assert streamsvd.update(tmp_path / "m", tmp_path / "a.zarr").skip_reason == "nothing new"
    array.append(A[200:])
    assert streamsvd.update(tmp_path / "m", tmp_path / "a.zarr").n_absorbed == 400
    s = reference(A, False)[1][:K]
    c = Model.open(tmp_path / "m").certificate
    assert (c.sigma_lower <= s).all()
    assert (s <= c.sigma_upper).all()


@pytest.mark.parametrize("kind", ["numpy", "opened", "dask", "opened dask", "memmap"])
def test_an_array_in_memory_or_computed_is_a_block_and_not_one_that_grows(A, tmp_path, kind):
    np.save(tmp_path / "A.npy", A)
    model = Model.create(tmp_path / "m", K)
    for start in (0, 300):
        rows = A[start : start + 300]
        block = {
            "numpy": rows,
            "opened": streamsvd.open(rows),
            "dask": da.from_array(rows, chunks=(100, N)),
            "opened dask": streamsvd.open(da.from_array(rows, chunks=(100, N))),
            "memmap": np.load(tmp_path / "A.npy", mmap_mode="r")[start : start + 300],
        }[kind]
        assert model.update(block).n_absorbed == 300
    np.testing.assert_allclose(model.s, reference(A, False)[1][:K], rtol=1e-2)
    assert [block.digest != "" for block in model.blocks] == [True, True]


def test_an_array_that_is_not_the_one_that_grew_is_refused(A, tmp_path):
    np.save(tmp_path / "a.npy", A[:300])
    streamsvd.update(tmp_path / "m", tmp_path / "a.npy", rank=K)
    np.save(tmp_path / "b.npy", A[::-1].copy())
    with pytest.raises(SpecError, match="row 299 of .*b.npy is not the last one"):
        streamsvd.update(tmp_path / "m", tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", A[:10])
    with pytest.raises(ShapeError, match="has 10 rows, the model has absorbed 300"):
        streamsvd.update(tmp_path / "m", tmp_path / "c.npy")
    assert streamsvd.update(tmp_path / "m", tmp_path / "c.npy", "other").n_absorbed == 10


@pytest.mark.parametrize("window", [100, 150, 1000])
def test_a_window_knows_nothing_but_the_newest_blocks(A, tmp_path, window):
    """A block that left has left no trace but signs: the bits are those with any other block in its place."""
    blocks = [A[i : i + 50] for i in range(0, M, 50)]
    model = Model.create(tmp_path / "m", K, window=window, center=True)
    for i, rows in enumerate(blocks):
        model.update(rows, str(i))
    held = -(-window // 50)
    rows = A[-50 * held :] if 50 * held < M else A
    s = reference(rows, True)[1][:K]
    assert (model.n_rows_held, model.n_rows) == (len(rows), M)
    assert f"{len(rows):,} rows held, {M:,} absorbed" in repr(model)
    c = model.certificate
    assert (c.sigma_lower <= s * (1 + 1e-12)).all()
    assert (s <= c.sigma_upper).all()
    np.testing.assert_allclose(model.mean, rows.mean(axis=0), rtol=1e-11)
    assert model.ledger.energy == pytest.approx(np.linalg.norm(rows - rows.mean(axis=0)) ** 2)
    other = Model.create(tmp_path / "other", K, window=window, center=True)
    for i, rows in enumerate(blocks):
        gone = i < len(blocks) - held
        other.update(1e6 * rows[::-1] + 1e3 if gone else rows, str(i))
    np.testing.assert_array_equal(other.s, model.s)
    turn = np.sign(
        np.sum(other.Vh * model.Vh, axis=1, keepdims=True)
    )  # signs follow what was before
    np.testing.assert_array_equal(turn * other.Vh, model.Vh)
    again = Model.open(tmp_path / "m")
    again.update(blocks[0], "again")
    model.update(blocks[0], "again")
    assert again.version == model.version
    np.testing.assert_array_equal(again.s, model.s)


def test_forgetting_fades_rows_with_every_block(A, tmp_path):
    model = absorbed(tmp_path / "m", A, [200, 400], forget=0.5)
    weights = np.repeat([0.25, 0.5, 1.0], 200)
    s = np.linalg.svd(weights[:, None] * A, compute_uv=False)[:K]
    c = model.certificate
    assert (c.sigma_lower <= s).all()
    assert (s <= c.sigma_upper).all()


@pytest.mark.parametrize("complex_", [False, True])
def test_columns_that_arrive_are_rows_of_the_adjoint(A, tmp_path, complex_):
    B = A[:, :30] + (1j * A[:, 10:] if complex_ else 0)
    model = Model.create(tmp_path / "m", K, axis="columns", u=True)
    for i, block in enumerate(np.split(B, [5, 6, 20], axis=1)):
        assert model.update(block, str(i)).n_absorbed == block.shape[1]
    error = np.linalg.norm(B - (model.U * model.s) @ model.Vh)
    assert error == pytest.approx(model.certificate.frobenius_error, rel=1e-9)
    np.testing.assert_allclose(model.Vh @ model.Vh.conj().T, np.eye(K), atol=1e-12)
    assert model.as_svd().Vh.shape == (K, 30)


@pytest.mark.parametrize("options", [{}, {"center": True}, {"center": True, "scale": True}])
def test_a_batch_result_is_a_model_that_update_extends(A, tmp_path, options):
    out = tmp_path / "r.zarr"
    batch = streamsvd.svd(A[:400], K, out=out, u=not options.get("scale"), **options)
    done = streamsvd.update(out, A[400:], "rest")
    assert (done.version, done.n_rows) == (1, M)
    model = Model.open(out)
    rows = A - A.mean(axis=0) if options else A
    if options.get("scale"):
        rows = rows / batch.scale  # which stays as it was measured first
    s = np.linalg.svd(rows, compute_uv=False)[:K]
    c = model.certificate
    assert (c.sigma_lower <= s * (1 + 1e-12)).all()
    assert (s <= c.sigma_upper).all()
    if options:
        np.testing.assert_allclose(model.mean, A.mean(axis=0), rtol=1e-10)
    error = np.linalg.norm(rows - rows @ model.Vh.T @ model.Vh)
    assert error <= c.frobenius_error
    if model.U is not None:
        assert model.U.shape == (M, K)
        whole = (np.asarray(model.U) * model.s) @ model.Vh
        assert np.linalg.norm(rows - whole) <= c.frobenius_error * (1 + 1e-6)
    loaded = streamsvd.load(out)
    np.testing.assert_array_equal(loaded.s, model.s)
    assert Model.open(out).update(A[400:], "rest").skip_reason == "known"
    assert model.verify() == []


@pytest.mark.parametrize("scale", [False, True])
def test_results_without_some_columns_are_not_extended(A, tmp_path, scale):
    gap = A.copy()
    gap[5, 3] = np.nan
    out = tmp_path / "r"
    streamsvd.pca(gap, 3, out=out, nonfinite="drop_columns", scale=scale)
    with pytest.raises(SpecError, match="left columns out for their missing values"):
        streamsvd.update(out, A, "more")


@pytest.mark.parametrize("scale", [1e160, 1e-170])
def test_results_whose_squares_do_not_fit_are_not_extended(A, tmp_path, scale):
    result = streamsvd.svd(A * scale, 3, out=tmp_path / "r")
    stored = streamsvd.load(tmp_path / "r").certificate  # its energy is infinite, or nothing
    assert stored.energy == result.certificate.energy
    with pytest.raises(SpecError, match="entries of size .*, whose squares"):
        streamsvd.update(tmp_path / "r", A, "more")


@pytest.mark.parametrize("name", ["plain.npz", "folder"])
def test_left_vectors_of_a_batch_result_are_there_before_the_first_update(A, tmp_path, name):
    result = streamsvd.svd(A, K, tol=1e-6, u=True, out=tmp_path / "r")
    model = Model.open(tmp_path / "r")
    assert model.U.shape == (M, K)
    np.testing.assert_array_equal(np.asarray(model.U), result.U[...])
    np.testing.assert_array_equal(model.U[M - 3 :], result.U[M - 3 :])
    streamsvd.export_model(model, tmp_path / name)
    if name == "folder":
        U = streamsvd.load(tmp_path / name).U[...]
    else:
        U = np.load(tmp_path / name)["U"]
    np.testing.assert_array_equal(U, result.U[...])


def test_an_estimate_stays_an_estimate(A, tmp_path):
    out = tmp_path / "r.zarr"
    streamsvd.svd(A[:400], K, out=out, certify="estimate")
    streamsvd.update(out, A[400:], "rest")
    assert Model.open(out).certificate.kind is streamsvd.numerics.certificate.Kind.ESTIMATE


def test_weighted_results_are_not_extended(A, tmp_path):
    out = tmp_path / "r.zarr"
    streamsvd.svd(A, K, out=out, row_weights=np.ones(M))
    with pytest.raises(SpecError, match="row_weights, which new rows do not have"):
        streamsvd.update(out, A[:5], "x")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(0, 0), (57, 13), (99, N - 1)])
def test_a_bad_entry_is_named_and_the_model_stays_as_it_is(A, tmp_path, value, at):
    model = absorbed(tmp_path / "m", A[:300], [])
    before = {p: p.read_bytes() for p in (tmp_path / "m").rglob("*") if p.is_file()}
    bad = A[300:400].copy()
    bad[at] = value
    with pytest.raises(NonFiniteError, match=rf"row {at[0]}, column {at[1]} .*Mend the data"):
        model.update(bad, "bad")
    after = {p: p.read_bytes() for p in (tmp_path / "m").rglob("*") if p.is_file()}
    assert after == before
    assert model.update(A[300:400], "bad").n_absorbed == 100


def test_blocks_with_gaps_are_skipped_or_filled_with_the_mean(A, tmp_path):
    gap = A[300:400].copy()
    gap[5, 7] = np.nan
    model = absorbed(tmp_path / "skip", A[:300], [])
    done = model.update(gap, "gap", nonfinite="skip_block")
    assert (done.skip_reason, done.n_absorbed, model.version) == ("nonfinite", 0, 1)
    with pytest.raises(SpecError, match="needs the mean"):
        model.update(gap, "gap", nonfinite="mean")
    model = absorbed(tmp_path / "fill", A[:300], [], center=True)
    filled = gap.copy()
    filled[5, 7] = model.mean[7]
    model.update(gap, "gap", nonfinite="mean")
    other = absorbed(tmp_path / "filled", A[:300], [], center=True)
    other.update(filled, "gap")
    np.testing.assert_array_equal(model.s, other.s)
    with pytest.raises(
        SpecError, match="'median' is unknown here. Pass one of raise, zero, mean, skip_block"
    ):
        model.update(gap, "z", nonfinite="median")
    with pytest.raises(SpecError, match='Pass mask="auto" with the first block'):
        model.update(gap, "z", nonfinite="drop_columns")


@pytest.mark.parametrize("rows", [37, M])
@pytest.mark.parametrize("options", [{}, {"forget": 0.5}, {"window": 300}, {"u": True}])
def test_an_array_with_gaps_waits_until_it_is_mended(A, tmp_path, monkeypatch, rows, options):
    """Nothing is lost, however the new rows are cut, and however long it takes."""
    monkeypatch.setattr("streamsvd.models.cut.MAX_PIECE_BYTES", 8 * N * rows)
    monkeypatch.setattr("streamsvd.models.absorption.ROUND", 1)
    grown = zarr.create_array(tmp_path / "a", shape=(300, N), chunks=(50, N), dtype="f8")
    grown[...] = A[:300]
    model = Model.create(tmp_path / "m", K, **options)
    model.update(grown)
    before = model.ledger
    gap = A[300:].copy()
    gap[170, 7] = np.nan
    grown.append(gap)
    done = model.update(grown, nonfinite="skip_block")
    assert (done.skip_reason, done.n_absorbed, done.n_rows) == ("nonfinite", 0, 300)
    assert model.ledger == before
    grown[300:] = A[300:]
    mended = model.update(grown, nonfinite="skip_block")
    assert (mended.skip_reason, mended.n_absorbed, mended.n_rows, mended.versions) == (
        "",
        300,
        600,
        1,
    )
    whole = Model.create(tmp_path / "whole", K, **options)
    whole.update(A[:300], "a")
    whole.update(A[300:], "b")
    np.testing.assert_allclose(model.s, whole.s, rtol=1e-2)
    assert model.ledger.energy == pytest.approx(whole.ledger.energy)


def test_blocks_that_do_not_fit_the_model_are_refused(A, tmp_path):
    model = Model.create(tmp_path / "m", K)
    names = [f"c{i}" for i in range(N)]
    model.update(A[:100], "first", column_names=names)
    with pytest.raises(ShapeError, match="39 columns, the model has 40"):
        model.update(A[100:200, 1:], "x")
    with pytest.raises(SpecError, match="integers, the model was made of floats"):
        model.update((A[100:200]).astype(int), "x")
    with pytest.raises(SpecError, match="complex numbers"):
        model.update(A[100:200].astype(complex), "x")
    with pytest.raises(SpecError, match="names of the block's columns, or their order"):
        model.update(A[100:200], "x", column_names=names[::-1])
    with pytest.raises(ShapeError, match="3 column names were given for 40"):
        model.update(A[100:200], "x", column_names=["a", "b", "c"])
    assert model.version == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rank": None}, SpecError, "neither rank nor tol"),
        ({"rank": 5, "forget": 1.5}, SpecError, r"outside \(0, 1\]"),
        ({"rank": 5, "window": 3}, SpecError, "window=3 rows cannot hold rank 5"),
        ({"rank": 5, "window": 30, "u": True}, SpecError, "u=True"),
        ({"rank": 5, "axis": "columns", "center": True}, SpecError, "center=True"),
        ({"rank": 5, "robust": True, "u": True}, SpecError, "robust=True"),
        ({"rank": 5, "axis": "time"}, SpecError, "'time' is unknown"),
        ({"rank": 5, "keep": 1}, SpecError, "keep=1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused_before_anything_is_written(
    tmp_path, options, error, message
):
    with pytest.raises(error, match=message):
        Model.create(tmp_path / "m", **options)
    assert not (tmp_path / "m").exists()


def test_a_rank_beyond_the_columns_is_refused(A, tmp_path):
    with pytest.raises(ShapeError, match="rank=50 exceeds the 40 columns"):
        Model.create(tmp_path / "m", 50).update(A, "x")
    assert streamsvd.update(tmp_path / "default", A, "x").n_absorbed == M


@pytest.mark.parametrize("u", [False, True])
def test_a_first_update_that_fails_leaves_nothing(A, tmp_path, monkeypatch, u):
    """So that the next one is free to ask for something else."""
    monkeypatch.setattr("streamsvd.models.cut.MAX_PIECE_BYTES", 8 * N * 37)
    bad = A.copy()
    bad[-1, -1] = np.nan
    path = tmp_path / "m"
    with pytest.raises(ShapeError, match="rank=99 exceeds the 40 columns"):
        streamsvd.update(path, A, "x", rank=99)
    assert not path.exists()
    with pytest.raises(NonFiniteError):
        streamsvd.update(path, bad, "x", rank=3, u=u)
    with pytest.raises(StoreError, match="not a model|does not exist"):
        Model.open(path)
    assert streamsvd.update(path, A, "x", u=u).n_absorbed == M
    assert Model.open(path).spec.rank == N
    done = streamsvd.update(tmp_path / "none", bad, "x", rank=3, nonfinite="skip_block")
    assert (done.version, done.skip_reason) == (0, "nonfinite")
    assert Model.open(tmp_path / "none").spec.rank == 3


def test_places_that_are_no_models_are_refused(A, tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="not a model"):
        Model.open(tmp_path / "f")
    with pytest.raises(StoreError, match="not a model"):
        streamsvd.update(tmp_path / "f", A, "x")
    with pytest.raises(StoreError, match="no empty folder"):
        Model.create(tmp_path / "f", 3)
    Model.create(tmp_path / "m", 3)
    with pytest.raises(StoreError, match="a model already"):
        Model.create(tmp_path / "m", 3)
    with pytest.raises(StoreError, match="absorbed nothing yet"):
        Model.open(tmp_path / "m").s  # noqa: B018
    streamsvd.update(tmp_path / "m", A, "x", rank=4)  # nothing was absorbed: it may still be chosen
    assert Model.open(tmp_path / "m").spec.rank == 4
    with pytest.raises(SpecError, match="rank=3 was asked, the model was made with rank=4"):
        streamsvd.update(tmp_path / "m", A, "y", rank=3)
    with pytest.raises(SpecError, match="'ranks' is no option"):
        streamsvd.update(tmp_path / "f2", A, "x", ranks=3)


def test_rolling_back_makes_later_blocks_unknown_again(A, tmp_path):
    model = absorbed(tmp_path / "m", A, [200, 400], u=True)
    s = model.s.copy()
    old = Model.open(tmp_path / "m", version=2)
    with pytest.raises(SpecError, match="opened by number"):
        old.update(A, "x")
    model.rollback(2)
    assert (model.version, model.n_rows) == (4, 400)
    np.testing.assert_array_equal(model.s, old.s)
    model.update(A[400:], "block-2")
    np.testing.assert_array_equal(model.s, s)
    assert np.asarray(model.U).shape == (M, K)
    assert [e.kind for e in model.versions] == ["update"] * 3 + ["rollback", "update"]
    with pytest.raises(StoreError, match="versions 1 to 5, not 9"):
        model.rollback(9)


@pytest.mark.parametrize("center", [False, True])
def test_models_of_different_rows_merge_to_that_of_all(A, tmp_path, center):
    absorbed(tmp_path / "a", A[:350], [100], center=center)
    b = Model.create(tmp_path / "b", K, center=center)
    b.update(A[350:], "later")
    merged = streamsvd.merge_models(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    s = reference(A, center)[1][:K]
    c = merged.certificate
    assert merged.n_rows == M
    assert (c.sigma_lower <= s).all()
    assert (s <= c.sigma_upper).all()
    assert merged.update(A[350:], "later").skip_reason == "known"
    with pytest.raises(SpecError, match="is in both models: its rows would count twice"):
        streamsvd.merge_models(tmp_path / "a", tmp_path / "a", tmp_path / "d")
    Model.create(tmp_path / "e", K + 1, center=center).update(A, "e")
    with pytest.raises(SpecError, match=f"differ in rank: {K} and {K + 1}"):
        streamsvd.merge_models(tmp_path / "a", tmp_path / "e", tmp_path / "d")


@pytest.mark.parametrize("name", ["e.npz", "e.zarr"])
def test_an_export_holds_the_factors(A, tmp_path, name):
    model = absorbed(tmp_path / "m", A, [100, 350], center=True, u=True)
    path = streamsvd.export_model(model, tmp_path / name)
    found = np.load(path) if name.endswith("npz") else zarr.open_group(str(path), mode="r")
    np.testing.assert_array_equal(found["s"][...], model.s)
    np.testing.assert_array_equal(found["Vh"][...], model.Vh)
    np.testing.assert_allclose(found["mean"][...], model.mean)
    np.testing.assert_allclose(found["U"][...], np.asarray(model.U), atol=1e-14)
    with pytest.raises(StoreError, match="exists already"):
        streamsvd.export_model(model, path)
    streamsvd.export_model(model, path, overwrite=True)


def test_drift_is_told_and_a_refit_is_advised(tmp_path):
    rng = np.random.default_rng(0)
    first = rng.standard_normal((200, 5)) @ np.eye(30)[:5]
    other = rng.standard_normal((200, 5)) @ np.eye(30)[5:10]
    model = Model.create(tmp_path / "m", 5, tol=0.1, buffer=0)
    model.update(first, "a")
    assert model.summary.captured is None
    assert model.advice == ""
    model.update(first, "b")
    assert model.summary.captured == pytest.approx(1)
    assert max(model.summary.angles) < 1e-6
    model.update(other, "c")
    assert model.summary.captured == pytest.approx(0, abs=1e-12)
    assert not model.summary.tolerance_met
    assert "make the model again" in model.advice


def test_a_tolerance_alone_finds_the_rank(A, tmp_path):
    model = Model.create(tmp_path / "m", tol=0.2)
    for i, rows in enumerate(np.split(A, 6)):
        model.update(rows, str(i))
    error = np.linalg.norm(A - A @ model.Vh.T @ model.Vh)
    assert error <= 0.2 * np.linalg.norm(A)
    s = reference(A, False)[1]
    tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]) / np.linalg.norm(A)
    assert model.s.size <= int(np.argmax(tails <= 0.2 * 0.95))


def test_many_updates_keep_orthogonality_and_little_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    model = Model.create(tmp_path / "m", 3, buffer=3)
    rows = rng.standard_normal((300, 2, 8))
    for i, block in enumerate(rows):
        model.update(block, str(i))
    k = model.s.size
    assert np.linalg.norm(model.Vh @ model.Vh.T - np.eye(k), 2) <= 1e-13
    assert len(list((tmp_path / "m" / "versions").iterdir())) < 40
    again = Model.open(tmp_path / "m")
    assert len(again.blocks) == 300
    assert again.update(rows[17], "17").skip_reason == "known"
    assert again.verify() == []
    direct = IncrementalSVD(rank=3, buffer=3)
    state = direct.init(8, like=rows)
    for block in rows:
        state = direct.update(state, block)
    np.testing.assert_allclose(again.s, state.s[:3], rtol=1e-12)


def test_memory_too_small_is_refused_with_the_smallest_that_works(A, tmp_path):
    model = Model.create(tmp_path / "m", K)
    with pytest.raises(streamsvd.BudgetError, match=r"Pass memory=\d+ or more") as refused:
        model.update(A, "x", memory="1MiB")
    assert model.update(A, "x", memory=refused.value.needs).n_absorbed == M


def test_integers_and_half_precision_are_absorbed_in_double(tmp_path):
    source = KnownMatrix("geometric", 300, 20)
    rows = source.rows(0, 300)
    ints = np.round(rows * 1000).astype(np.int16)
    model = Model.create(tmp_path / "i", 4)
    for i, block in enumerate(np.split(ints, 3)):
        model.update(block, str(i))
    s = np.linalg.svd(ints.astype(float), compute_uv=False)[:4]
    assert (model.certificate.sigma_lower <= s).all()
    assert (s <= model.certificate.sigma_upper).all()
    half = rows.astype(np.float16)
    model = Model.create(tmp_path / "h", 4)
    model.update(half, "all")
    s = np.linalg.svd(half.astype(float), compute_uv=False)[:4]
    np.testing.assert_allclose(model.s, s, rtol=1e-12)


def test_options_print_and_compare_as_values():
    assert IncrementalSVD(rank=3) == IncrementalSVD(rank=3)
    assert replace(IncrementalSVD(rank=3), tol=0.1).tol == 0.1


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.full((5, 4), 1e200), "entries of size 1e\\+200, whose squares"),
        (np.full((5, 4), 1e-200), "entries of size 1e-200, whose squares"),
        (np.full((5, 4), 1e200j), "entries of size 1e\\+200"),
        (np.where(np.eye(5, 4) > 0, np.nan, 1e200), "entries of size 1e\\+200"),
        (np.where(np.eye(5, 4) > 0, np.nan, -1e-200), "entries of size 1e-200"),
        (np.full((5, 4), 2**60 + 1), "integers of size 1.15292e\\+18, which float64 rounds"),
    ],
)
def test_entries_that_squares_do_not_hold_are_refused_and_nothing_is_written(
    tmp_path, block, message
):
    model = Model.create(tmp_path / "m", 2, center=True)
    with pytest.raises(SpecError, match=message):
        model.update(block, "x", nonfinite="mean")
    assert model.version == 0
    assert {p.name for p in (tmp_path / "m").iterdir()} == {"head.json", "model.json"}
    assert model.update(np.zeros((3, 4), dtype=block.dtype), "zeros").n_absorbed == 3


def test_a_model_grows_along_one_axis_only(A, tmp_path):
    """Truncating along both would lose the ledger: an error that no figure tells (A22)."""
    streamsvd.update(tmp_path / "m", A[:300], "rows", rank=K)
    with pytest.raises(
        SpecError, match="axis='columns' was asked, the model was made with axis='rows'"
    ):
        streamsvd.update(tmp_path / "m", A[:, :5], "columns", axis="columns")


TIGHT = "48MiB"


@pytest.mark.parametrize("memory", [TIGHT, "1GiB"])
@pytest.mark.parametrize("named", [True, False])
def test_rows_fade_with_a_block_and_not_with_its_pieces(A, tmp_path, memory, named):
    rows = np.tile(A, (40, 1))
    store = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(12_000, N), chunks=(500, N), dtype="f8"
    )
    store[:] = rows[:12_000]
    options = {"rank": K, "forget": 0.5, "u": True, "center": True}
    ids = ("one", "two") if named else (None, None)
    streamsvd.update(tmp_path / "m", str(tmp_path / "a.zarr"), ids[0], memory=memory, **options)
    if not named:
        store.append(rows[12_000:])
    later = rows[12_000:] if named else str(tmp_path / "a.zarr")
    streamsvd.update(tmp_path / "m", later, ids[1], memory=memory)
    model = Model.open(tmp_path / "m")
    assert model.n_rows == 24_000
    assert (memory == TIGHT) == (len(model.blocks) > 2)
    weights = np.repeat([0.5, 1.0], 12_000)
    B = weights[:, None] * (rows - (weights**2 @ rows) / np.sum(weights**2))
    s = np.linalg.svd(B, compute_uv=False)[:K]
    c = model.certificate
    assert (c.sigma_lower <= s).all()
    assert (s <= c.sigma_upper).all()
    assert c.energy == pytest.approx(np.linalg.norm(B) ** 2, rel=1e-10)
    error = np.linalg.norm(B - (np.asarray(model.U) * model.s) @ model.Vh)
    assert error == pytest.approx(c.frobenius_error, rel=1e-8)


@pytest.mark.parametrize("memory", [TIGHT, "1GiB"])
def test_a_window_slides_by_blocks_and_not_by_their_pieces(A, tmp_path, memory):
    rows = np.tile(A, (40, 1))
    model = Model.create(tmp_path / "m", K, window=1000)
    model.update(rows[:12_000], "long", memory=memory)
    s = np.linalg.svd(rows[:12_000], compute_uv=False)[:K]
    c = model.certificate
    assert (c.sigma_lower <= s).all()
    assert (s <= c.sigma_upper).all()
    model.update(rows[12_000:], "next", memory=memory)
    assert model.ledger.energy == pytest.approx(np.linalg.norm(rows[12_000:]) ** 2)


def test_rows_that_are_not_written_yet_are_left_for_later(A, tmp_path):
    store = zarr.create_array(str(tmp_path / "a.zarr"), shape=(130, N), chunks=(100, N), dtype="f8")
    store[:] = A[:130]
    streamsvd.update(tmp_path / "m", str(tmp_path / "a.zarr"), rank=K)
    store.resize((150, N))
    assert streamsvd.update(tmp_path / "m", str(tmp_path / "a.zarr")).skip_reason == "nothing new"
    store[130:140] = A[130:140]
    assert streamsvd.update(tmp_path / "m", str(tmp_path / "a.zarr")).n_absorbed == 10
    store[140:] = A[140:150]
    assert streamsvd.update(tmp_path / "m", str(tmp_path / "a.zarr")).n_absorbed == 10
    s = np.linalg.svd(A[:150], compute_uv=False)[:K]
    c = Model.open(tmp_path / "m").certificate
    assert (c.sigma_lower <= s).all()
    assert (s <= c.sigma_upper).all()


def test_a_column_without_any_value_in_the_first_piece_has_no_mean_to_be_filled_with(tmp_path):
    gap = np.random.default_rng(0).standard_normal((4000, 400))
    gap[:3990, 2] = np.nan
    model = Model.create(tmp_path / "m", K, center=True)
    with pytest.raises(SpecError, match="column 2 has no value in the first [0-9,]+ rows"):
        model.update(gap, "a", nonfinite="mean", memory="46MiB")
    assert model.version == 0


@pytest.mark.parametrize("offset", [1e6, 1e9, 1e12])
def test_centred_intervals_know_the_rounding_of_a_mean_far_from_zero(tmp_path, offset):
    X = np.random.default_rng(0).integers(-9, 10, (400, 6)).astype(float)
    exact = np.concatenate([X, -X])  # its mean is zero exactly, and every sum is an integer
    model = Model.create(tmp_path / "m", 6, center=True)
    for i, rows in enumerate(np.split(exact + offset, 8)):
        model.update(rows, str(i))
    s = np.linalg.svd(exact, compute_uv=False)
    c = model.certificate
    assert (c.sigma_lower <= s).all()
    assert (s <= c.sigma_upper).all()


def test_rows_of_u_are_chosen_by_lists_and_masks(A, tmp_path):
    model = absorbed(tmp_path / "m", A, [100, 350], u=True)
    whole = np.asarray(model.U)
    mask = np.arange(M) % 7 == 0
    np.testing.assert_allclose(model.U[[1, 120, -1]], whole[[1, 120, -1]], atol=1e-14)
    np.testing.assert_allclose(model.U[mask], whole[mask], atol=1e-14)
    assert model.U[[]].shape == (0, K)


def test_numbers_of_numpy_are_numbers_and_others_are_refused(A, tmp_path):
    assert (
        Model.create(tmp_path / "m", np.int64(2), forget=np.float32(1)).update(A, "x").version == 1
    )
    for wrong in (2.5, True, "3"):
        with pytest.raises(SpecError, match="is no whole number"):
            Model.create(tmp_path / "n", wrong)
    with pytest.raises(SpecError, match="is no number"):
        Model.create(tmp_path / "n", 2, forget="much")
    with pytest.raises(SpecError, match="block_id=5 is no name"):
        Model.open(tmp_path / "m").update(A, 5)


def test_a_collected_version_and_a_lost_object_are_told_apart(A, tmp_path):
    model = Model.create(tmp_path / "m", K, keep=2)
    for i in range(16):
        model.update(A[i : i + 5], str(i))
    with pytest.raises(
        StoreError, match="version 1 is missing: it was collected. Versions 15 to 16 are kept"
    ):
        Model.open(tmp_path / "m", version=1)
    next((tmp_path / "m" / "versions").glob("*16-*/Vh/c/0/0")).unlink()
    with pytest.raises(StoreError, match="is missing. Run streamsvd repair"):
        Model.open(tmp_path / "m")


def test_a_healthy_batch_result_is_intact_and_nothing_new_is_no_error(A, tmp_path):
    np.save(tmp_path / "a.npy", A)
    streamsvd.svd(A, K, out=tmp_path / "r")
    done = streamsvd.update(tmp_path / "r", tmp_path / "a.npy")
    assert (done.skip_reason, done.version) == ("nothing new", 0)
    model, damage = repair_model(tmp_path / "r")
    assert damage == []
    assert model.n_rows == M
    with pytest.raises(StoreError, match="no version yet"):
        model.rollback(0)


@pytest.mark.parametrize("options", [{}, {"window": 1000}, {"forget": 0.5}])
def test_rows_not_written_yet_wait_however_many_pieces_they_fill(A, tmp_path, options):
    rows = np.tile(A, (40, 1))[:20_000]
    store = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=rows.shape, chunks=(500, N), dtype="f8"
    )
    store[:5_250] = rows[:5_250]
    source = streamsvd.open(str(tmp_path / "a.zarr"), missing="fill")
    done = streamsvd.update(tmp_path / "m", source, rank=K, memory=TIGHT, **options)
    assert done.n_absorbed == 5_250
    assert Model.open(tmp_path / "m").ledger.energy == pytest.approx(
        np.linalg.norm(rows[:5_250]) ** 2
    )
    store[5_250:] = rows[5_250:]
    assert streamsvd.update(tmp_path / "m", source, memory=TIGHT).n_absorbed == 14_750
    assert len(Model.open(tmp_path / "m").blocks) > 2
