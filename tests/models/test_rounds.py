"""What parts of new rows are made with: what was known at the last commit, so that threads change no bit and little is lost."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd import Model, SpecError
from streamsvd.models import absorption, cut
from streamsvd.models.absorption import _rounds

M, N, CHUNK = 2400, 300, 300


@pytest.fixture
def short(monkeypatch):
    """Pieces of one chunk, sketched; rounds of three."""
    monkeypatch.setattr(cut, "MAX_PIECE_BYTES", 8 * N * CHUNK)
    monkeypatch.setattr(absorption, "ROUND", 3)


def stored(path, A, rows=CHUNK):
    zarr.create_array(path, data=A, chunks=(rows, A.shape[1]))
    return path


@pytest.fixture(scope="module")
def A():
    rng = np.random.default_rng(2)
    Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
    return (rng.standard_normal((M, N)) / np.sqrt(1 + np.arange(N))) @ Q + 0.2


@pytest.mark.parametrize(
    ("count", "lead", "expected"),
    [
        (1, 0, [(True, 1)]),
        (1, 10, [(True, 1)]),
        (1, 4, [(False, 1), (True, 1)]),
        (2, 10, [(False, 1), (True, 1)]),
        (7, 10, [(False, 1), (True, 2), (True, 3), (True, 1)]),
        (7, 0, [(True, 3), (True, 3), (True, 1)]),
    ],
)
def test_rounds_cover_all_runs_and_end_where_commits_do(short, count, lead, expected):
    runs = [(10 * i, 10 * i + 10) for i in range(count)]
    found = list(_rounds(runs, lead))
    assert [(is_commit, len(round_)) for is_commit, round_ in found] == expected
    flat = [run for _, round_ in found for run in round_]
    assert flat[0][0] == 0
    assert flat[-1][1] == 10 * count
    assert all(a[1] == b[0] for a, b in zip(flat, flat[1:], strict=False))


@pytest.mark.parametrize("named", [False, True])
def test_threads_change_no_bit_of_sketched_pieces(A, short, tmp_path, named):
    path, found = stored(tmp_path / "A.zarr", A), []
    for threads in (1, 2, 5):
        with dask.config.set(num_workers=threads):
            streamsvd.update(
                tmp_path / str(threads), path, "all" if named else None, rank=3, buffer=8, u=True, memory="256MiB"
            )  # fmt: skip
        found.append(Model.open(tmp_path / str(threads)))
    one, *others = found
    assert len(one.blocks) == M // CHUNK
    assert one.version == (1 if named else 3)
    assert one.ledger.failure > 0  # pieces were sketched
    for other in others:
        np.testing.assert_array_equal(other.Vh, one.Vh)
        np.testing.assert_array_equal(other.U[:], one.U[:])
        assert [b.digest for b in other.blocks] == [b.digest for b in one.blocks]
    again = streamsvd.update(tmp_path / "5", path, "all" if named else None, memory="64MiB")
    assert again.skip_reason == ("known" if named else "nothing new")


def test_certificates_hold_and_intervals_are_nearly_as_narrow_as_with_what_is_newest(
    A, short, tmp_path, monkeypatch
):
    path, widths = stored(tmp_path / "A.zarr", A), []
    s = np.linalg.svd(A, compute_uv=False)[:5]
    for round_ in (3, 1):
        monkeypatch.setattr(absorption, "ROUND", round_)
        streamsvd.update(tmp_path / str(round_), path, rank=5)
        c = Model.open(tmp_path / str(round_)).certificate
        assert (c.sigma_lower <= s).all()
        assert (s <= c.sigma_upper).all()
        widths.append(float(np.max(c.sigma_upper - c.sigma_lower)))
    assert widths[0] <= 1.05 * widths[1]


def test_what_is_missing_is_given_the_mean_of_the_last_commit(short, tmp_path):
    rng = np.random.default_rng(5)
    A = rng.standard_normal((1500, 4)) + np.linspace(0, 8, 1500)[:, None]
    holed = A.copy()
    holed[:300:2, 1] = np.nan
    holed[301:1500:3, 2] = np.nan
    filled = holed.copy()
    filled[:300, 1] = np.where(np.isnan(holed[:300, 1]), np.nanmean(holed[:300, 1]), holed[:300, 1])
    first = filled[:300, 2].mean()  # pieces of 300 rows: the first alone, two more, a commit
    filled[300:900, 2] = np.where(np.isnan(holed[300:900, 2]), first, holed[300:900, 2])
    known = filled[:900, 2].mean()
    filled[900:, 2] = np.where(np.isnan(holed[900:, 2]), known, holed[900:, 2])
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(cut, "MAX_PIECE_BYTES", 8 * 4 * CHUNK)
        for name, rows in (("holed", holed), ("filled", filled)):
            path = stored(tmp_path / f"{name}.zarr", rows)
            streamsvd.update(tmp_path / name, path, rank=2, center=True, nonfinite="mean")
    one, other = Model.open(tmp_path / "holed"), Model.open(tmp_path / "filled")
    assert one.version == 2
    np.testing.assert_allclose(one.s, other.s, rtol=1e-12)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)


def test_a_column_that_has_values_in_the_first_piece_alone_may_be_missing_later(short, tmp_path):
    A = np.random.default_rng(0).standard_normal((1200, N))
    A[CHUNK:, 7] = np.nan
    path = stored(tmp_path / "A.zarr", A, rows=600)  # two pieces a chunk
    model = Model.create(tmp_path / "m", 3, center=True)
    assert model.update(path, nonfinite="mean").n_absorbed == 1200
    late = stored(tmp_path / "B.zarr", A[::-1])
    with pytest.raises(SpecError, match="column 7 has no value in the first 300 rows"):
        Model.create(tmp_path / "n", 3, center=True).update(late, nonfinite="mean")


def test_an_array_that_goes_on_after_a_commit_is_cut_where_it_would_have_been(A, short, tmp_path):
    """The last rows fit a piece of their own, and are cut as if those before them were still to come."""
    path = stored(tmp_path / "A.zarr", A)
    whole = Model.create(tmp_path / "whole", 3)
    whole.update(path)

    class Enough(Exception):
        pass

    def stop(event):
        if type(event).__name__ == "ResultWritten":
            raise Enough

    part = Model.create(tmp_path / "part", 3)
    for _ in range(2):
        with pytest.raises(Enough):
            part.update(path, callback=stop)
    part.update(path)
    assert [(b.start, b.stop) for b in part.blocks] == [(b.start, b.stop) for b in whole.blocks]
    np.testing.assert_array_equal(part.Vh, whole.Vh)
