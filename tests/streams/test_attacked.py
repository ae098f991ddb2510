"""What an attacker found, each once."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.cli import app
from tests.streams.claims import assert_true, sine


@pytest.mark.parametrize("d", [30, 40, 60])
def test_a_further_pass_never_makes_an_answer_or_its_proof_worse(d):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((2_000, d)) * (0.9 ** np.arange(d) if d == 60 else 1.0)
    before = None
    for passes in (1, 2, 3):
        result = streamsvd.top_eigenvectors(A, 5, passes=passes)
        assert_true(result, A)
        if before is not None:
            assert sine(result, A) <= 1.5 * before[0] + 1e-6
            assert result.certificate.sine <= 2 * before[1] + 1e-6
        before = sine(result, A), result.certificate.sine


@pytest.mark.parametrize("order", ["auto", "arbitrary"])
def test_intervals_of_exact_values_are_not_empty(order):
    for A in (np.ones((1_500, 40)), np.ones((20_000, 7)), 1e8 + np.eye(50, 6), np.ones((9, 1))):
        c = streamsvd.top_eigenvectors(A, order=order).certificate
        exact = np.linalg.eigvalsh(A.T @ A)[-1]
        assert c.values_lower[0] <= exact * (1 + 1e-15)
        assert exact * (1 - 1e-15) <= c.values_upper[0]


def test_many_heavy_rows_are_within_the_projection():
    A = np.random.default_rng(0).standard_normal((600, 8_000)).astype("f4")
    A[:400] *= 1000
    result = streamsvd.top_eigenvectors(A, heavy_rows=450, memory="500MiB")
    assert result.info.peak_bytes <= result.info.projected_bytes <= 500 << 20


def test_little_rank_takes_little_memory():
    A = np.zeros((10, 4_000))
    A[:, 0] = 1
    result = streamsvd.top_eigenvectors(A, 2, memory="200MiB")
    assert result.info.peak_bytes <= result.info.projected_bytes
    np.testing.assert_allclose(result.components @ result.components.T, np.eye(2), atol=1e-12)


def test_a_group_is_not_replaced_by_an_array(tmp_path):
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    group.create_array("a", shape=(3,), dtype="f8")
    with pytest.raises(streamsvd.StoreError, match="no zarr array"):
        streamsvd.shuffle(np.ones((4, 3)), tmp_path / "g.zarr", overwrite=True)
    assert (tmp_path / "g.zarr" / "a").exists()


def test_a_url_is_no_folder():
    with pytest.raises(streamsvd.SpecError, match="lost a slash"):
        streamsvd.shuffle(np.ones((4, 3)), Path("s3://bucket/x.zarr"))


def test_a_type_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises((ValueError, streamsvd.StreamSVDError)):
        streamsvd.shuffle(np.ones((40, 3), dtype=np.longdouble), tmp_path / "o.zarr")
    assert not list(tmp_path.iterdir())


def test_a_face_and_a_run_do_not_take_each_others_saves(tmp_path):
    streamsvd.TopEigenvectorStream().partial_fit(np.ones((70, 3))).save(tmp_path / "s")
    with pytest.raises(streamsvd.StoreError, match="was saved by TopEigenvectors"):
        streamsvd.top_eigenvectors([np.ones((70, 3))], checkpoint=tmp_path / "s")


def test_numbers_of_numpy_are_numbers(tmp_path):
    A = np.random.default_rng(0).standard_normal((300, 5))
    options = {
        "k": np.int64(2), "n_rows": np.int64(300), "seed": np.int32(3), "delta": np.float32(0.1),
        "checkpoint": tmp_path / "s", "save_seconds": 0,
    }  # fmt: skip
    assert streamsvd.top_eigenvectors([A], **options).values.size == 2


@pytest.mark.parametrize(
    "options",
    [
        {"k": 2.0}, {"k": True}, {"k": "2"}, {"width": 3.5}, {"passes": 2.0}, {"heavy_rows": 1.5}, {"seed": 2**70},
        {"seed": -1}, {"seed": 1.5}, {"n_rows": "1000"}, {"n_rows": 10.5}, {"delta": "much"}, {"checkpoint": ""},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_another_kind_end_in_a_sentence(options):
    with pytest.raises(streamsvd.SpecError):
        streamsvd.top_eigenvectors([np.ones((70, 5))], **options)


class Killed(Exception):
    pass


def test_other_data_are_not_gone_on_with(tmp_path):
    A = np.random.default_rng(0).standard_normal((3_000, 10))
    path = tmp_path / "a.zarr"
    stored = zarr.create_array(path, shape=A.shape, chunks=(50, 10), dtype="f8")
    stored[...] = A

    def stop(event):
        if type(event).__name__ == "SpanDone" and event.n_finished == 2:
            raise Killed

    saved = {"checkpoint": tmp_path / "s", "save_seconds": 0}
    with pytest.raises(Killed):
        streamsvd.top_eigenvectors(path, callback=stop, **saved)
    stored[...] = 3 * A
    with pytest.raises(streamsvd.SpecError, match="is of a run with rows="):
        streamsvd.top_eigenvectors(path, **saved)

    def blocks():
        yield A[:1_000]
        raise Killed

    saved["checkpoint"] = tmp_path / "t"
    with pytest.raises(Killed):
        streamsvd.top_eigenvectors(blocks(), **saved)
    with pytest.raises(streamsvd.SpecError, match="700 rows more than came"):
        streamsvd.top_eigenvectors([A[:300]], **saved)


def test_a_bad_entry_of_mixed_rows_is_named_where_it_lies(tmp_path):
    A = np.ones((1_000, 20))
    A[700, 3] = np.nan
    zarr.create_array(tmp_path / "a.zarr", shape=A.shape, chunks=(10, 20), dtype="f8")[...] = A
    with pytest.raises(streamsvd.NonFiniteError, match=r"row 700, column 3 .*c/70/0"):
        streamsvd.top_eigenvectors(tmp_path / "a.zarr")


def _absorb(block, mask):
    return streamsvd.TopEigenvectorStream(1, mask=mask).partial_fit(block)


def _of_blocks(block, mask):
    return streamsvd.top_eigenvectors([block], 1, mask=mask)


@pytest.mark.parametrize("take", [_absorb, _of_blocks])
def test_a_bad_entry_beside_columns_that_are_left_out_has_its_number_among_all(take):
    block = np.ones((70, 5))
    block[3, 3], mask = np.nan, np.array([False, True, False, True, True])
    with pytest.raises(streamsvd.NonFiniteError, match=r"row 3, column 3"):
        take(block, mask)


def test_a_masked_block_is_refused_as_one_with_nan_is():
    block = np.ma.masked_array(np.ones((70, 3)), mask=np.eye(70, 3))
    with pytest.raises(streamsvd.NonFiniteError, match="NaN at row 0, column 0"):
        streamsvd.top_eigenvectors([block])


def test_rows_that_differ_for_certain_are_told_in_numbers(tmp_path, capsys):
    A = np.repeat(np.eye(8), 256, axis=0)
    np.save(tmp_path / "a.npy", A)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", streamsvd.OrderWarning)
        assert (
            app.run(["top", str(tmp_path / "a.npy"), "--k", "2", "--order", "random", "--json"])
            == 0
        )
    record = json.loads(capsys.readouterr().out)
    assert isinstance(record["order"]["design_effect"], float)


def test_no_estimate_is_above_what_is_proved():
    A = np.random.default_rng(0).standard_normal((2_000, 20))
    A[:, 0] *= 5
    for passes in (1, 2):
        c = streamsvd.top_eigenvectors(A, passes=passes).certificate
        assert c.sine_estimate <= c.sine


def test_a_place_that_cannot_be_written_is_refused_first(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.ones((70, 3)))
    assert app.run(["top", str(tmp_path / "a.npy"), "--out", str(tmp_path / "no" / "v.npz")]) == 1
    said = capsys.readouterr().err
    assert "is no folder" in said
    assert "pass 1" not in said
