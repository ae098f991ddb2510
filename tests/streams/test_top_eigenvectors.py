"""Stored matrices and iterables of blocks into a stream: the same answers, however they come, and honest claims."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.events import PassDone, PassStarted, SpanDone
from streamsvd.streams.mathematics import state_bytes
from streamsvd.streams.options import StreamOptions
from streamsvd.testing.stores import CountingStore
from tests.streams.claims import assert_true, sine


def rows_with(rng, n, d, sizes):
    return rng.standard_normal((n, d)) * np.concatenate([sizes, np.ones(d - len(sizes))])


def stored(path, A, chunk, **options):
    zarr.create_array(path, shape=A.shape, chunks=(chunk, A.shape[1]), dtype=A.dtype)[...] = A
    return streamsvd.top_eigenvectors(path, **options)


@pytest.fixture(scope="module")
def A():
    return rows_with(np.random.default_rng(0), 12_000, 40, [6, 4]).astype("float32")


@pytest.mark.parametrize("order", ["auto", "random", "arbitrary"])
@pytest.mark.parametrize("k", [1, 2])
def test_what_is_claimed_of_a_stored_matrix_is_true(tmp_path, A, order, k):
    result = stored(tmp_path / "a.zarr", A, 32, k=k, order=order)
    assert_true(result, A)
    assert sine(result, A.astype(float)) < 0.05
    assert result.certificate.evidence != "none"
    assert result.info.bytes_read == A.nbytes
    assert result.info.n_rows == len(A)


def test_sorted_rows_are_mixed_and_the_rest_is_told(tmp_path):
    rng = np.random.default_rng(1)
    label = np.arange(20_000) * 6 // 20_000
    A = rng.standard_normal((20_000, 50)) + 2 * rng.standard_normal((6, 50))[label]
    mixed = stored(tmp_path / "a.zarr", A, 20, k=5)
    assert_true(mixed, A)
    in_order = streamsvd.top_eigenvectors((A[a : a + 100] for a in range(0, 20_000, 100)), 5)
    assert_true(in_order, A)
    assert in_order.order.random is False
    assert in_order.certificate.evidence != "statistical"
    assert in_order.certificate.captured_evidence == "deterministic"
    assert in_order.order.design_effect > 20 * mixed.order.design_effect
    assert any("do not come in random order" in said for said in in_order.info.warnings)


def test_an_order_said_to_be_random_is_looked_at():
    rng = np.random.default_rng(1)
    A = rows_with(rng, 10_000, 30, [5])
    A = A[np.argsort(A[:, 0])]
    with pytest.warns(streamsvd.OrderWarning, match=r"varies .* Shuffle the rows first"):
        result = streamsvd.top_eigenvectors(A, order="random")
    assert_true(result, A)
    assert result.certificate.evidence != "statistical"


def test_rows_that_were_shuffled_once_and_for_all_come_in_random_order(tmp_path):
    rng = np.random.default_rng(1)
    A = rows_with(rng, 6_000, 30, [3])
    A = A[np.argsort(A[:, 0])].astype("float32")
    path = streamsvd.shuffle(A, tmp_path / "b.zarr", seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = streamsvd.top_eigenvectors(path, order="random")
    assert result.order.random is True
    assert_true(result, A)


def test_blocks_of_any_cut_give_the_same_bits(A):
    ways = [
        [A],
        [A[a : a + 1000] for a in range(0, len(A), 1000)],
        np.array_split(A, 777),
        (row for row in A),
    ]
    first, *others = (streamsvd.top_eigenvectors(way, 2, n_rows=len(A)) for way in ways)
    for other in others:
        np.testing.assert_array_equal(other.components, first.components)
        assert other.certificate.sine == first.certificate.sine
    assert_true(first, A)


def test_a_face_gives_the_same_bits(A):
    stream = streamsvd.TopEigenvectorStream(2, n_rows=len(A))
    for a in range(0, len(A), 501):
        assert stream.n_rows_seen == a
        stream.partial_fit(A[a : a + 501])
    found = stream.finalize()
    whole = streamsvd.top_eigenvectors([A], 2, n_rows=len(A))
    np.testing.assert_array_equal(found.components, whole.components)
    with pytest.raises(streamsvd.SpecError, match="was finalized"):
        stream.partial_fit(A)


@pytest.mark.parametrize("source", ["stored", "list"])
def test_further_passes_make_the_vectors_exact(tmp_path, source):
    A = rows_with(np.random.default_rng(2), 6_000, 60, [3, 2.5, 2])
    blocks = [A[:2_500], A[2_500:]]
    sines = []
    for passes in (1, 2, 3):
        if source == "stored":
            result = stored(tmp_path / f"{passes}.zarr", A, 50, k=3, passes=passes)
        else:
            result = streamsvd.top_eigenvectors(blocks, 3, passes=passes)
        assert_true(result, A)
        sines.append(sine(result, A))
        assert result.info.passes == passes
        assert result.info.bytes_read == (1 if source == "stored" else passes) * A.nbytes
        assert (result.method == "refined") == (passes > 1)
    assert sines[2] < 0.5 * sines[1] < 0.25 * sines[0]
    np.testing.assert_allclose(result.values, np.linalg.eigvalsh(A.T @ A)[::-1][:3], rtol=1e-4)


def test_two_passes_over_what_comes_once_are_refused_before_the_first():
    came = []
    blocks = (came.append(1) or np.ones((2, 2)) for _ in range(3))
    with pytest.raises(streamsvd.SpecError, match=r"passes=2 .* can be gone through once only"):
        streamsvd.top_eigenvectors(blocks, passes=2)
    assert not came


def test_a_further_pass_over_other_rows_is_noticed():
    class Moving:
        turn = 0

        def __iter__(self):
            self.turn += 1
            yield np.random.default_rng(self.turn).standard_normal((200, 5))

    with pytest.raises(streamsvd.SpecError, match="Pass the same rows again"):
        streamsvd.top_eigenvectors(Moving(), passes=2)


@pytest.mark.parametrize("chunk", [7, 64, 1000, 12_000])
def test_the_least_budget_works_and_one_byte_less_does_not(tmp_path, A, chunk):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(chunk, 40), dtype="f4")[...] = A
    with pytest.raises(streamsvd.BudgetError, match="smallest budget that works") as caught:
        streamsvd.top_eigenvectors(path, memory="1MiB")
    least = caught.value.needs
    result = streamsvd.top_eigenvectors(path, memory=least)
    assert_true(result, A)
    assert result.info.projected_bytes <= least
    assert result.info.peak_bytes <= result.info.projected_bytes
    with pytest.raises(streamsvd.BudgetError, match=f"memory={least}"):
        streamsvd.top_eigenvectors(path, memory=least - 1)


def test_each_chunk_is_read_once_a_pass(tmp_path, A):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(100, 25), dtype="f4")[...] = A
    store = CountingStore(zarr.storage.LocalStore(path, read_only=True))
    whole = streamsvd.plan("top_eigenvectors", store, passes=2, memory="1GiB")
    streamsvd.top_eigenvectors(store, passes=2, memory=whole.projected_bytes - 1)
    assert store.chunk_gets == 2 * 120 * 2


def test_a_matrix_that_fits_is_read_once(tmp_path, A):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(100, 25), dtype="f4")[...] = A
    store = CountingStore(zarr.storage.LocalStore(path, read_only=True))
    streamsvd.top_eigenvectors(store, passes=2, memory="1GiB")
    assert store.chunk_gets == 120 * 2


def test_a_cluster_has_nothing_to_do_and_changes_no_bit(tmp_path, A):
    from distributed import Client, LocalCluster

    here = stored(tmp_path / "a.zarr", A, 100, k=2, passes=2)
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    with cluster, Client(cluster) as client:
        there = streamsvd.top_eigenvectors(tmp_path / "a.zarr", 2, passes=2)
        assert not client.story()
    np.testing.assert_array_equal(there.components, here.components)


def test_those_who_watch_are_told(tmp_path, A):
    events = []
    stored(tmp_path / "a.zarr", A, 100, passes=2, callback=events.append)
    assert [type(e) for e in events if not isinstance(e, SpanDone)] == [
        PassStarted, PassDone, PassStarted, PassDone,
    ]  # fmt: skip
    spans = [e for e in events if isinstance(e, SpanDone) and e.number == 1]
    assert [e.n_finished for e in spans] == list(range(1, spans[0].spans + 1))


def test_blocks_of_a_stream_of_known_length_are_told_by_their_rows(A):
    events = []
    blocks = [A[:5_000], A[5_000:5_001], A[5_001:]]
    streamsvd.top_eigenvectors(blocks, n_rows=len(A), callback=events.append)
    done = [(e.n_finished, e.spans) for e in events if isinstance(e, SpanDone)]
    assert done == [(5_000, 12_000), (5_001, 12_000), (12_000, 12_000)]


def test_more_heavy_rows_than_there_is_room_for_are_told():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8_000, 40))
    A[rng.permutation(8_000)[:30]] *= 40
    result = streamsvd.top_eigenvectors([A], heavy_rows=16, n_rows=8_000)
    (said,) = (w for w in result.info.warnings if "heavy_rows=16" in w)
    assert 28 <= int(re.search(r"about (\d+)", said)[1]) <= 40
    assert_true(result, A)
    roomy = streamsvd.top_eigenvectors([A], heavy_rows=48, n_rows=8_000)
    assert not any("heavy_rows" in w for w in roomy.info.warnings)


def test_fewer_rows_than_announced_are_told():
    A = np.random.default_rng(0).standard_normal((500, 6))
    result = streamsvd.top_eigenvectors([A], n_rows=5_000)
    assert any("500 rows came of 5,000 announced" in w for w in result.info.warnings)
    assert_true(result, A)


@pytest.mark.parametrize(
    ("A", "message"),
    [
        ([], "no block has come"),
        ([np.ones((3, 4)), np.ones((3, 5))], r"a block of shape \(3, 5\) came after rows of 4"),
        ([np.ones((2, 2, 2))], r"Blocks are \(rows, columns\)"),
        ([np.ones((3, 4)) * 1j], "complex"),
        (np.ones((3, 4)) * 1j, "complex"),
        (np.ones((0, 4)), "is empty"),
        ([np.full((3, 4), 1e200)], "whose powers float64 does not hold"),
        ([np.array([["a", "b"]])], "real numbers"),
    ],
)
def test_what_is_no_stream_of_rows_ends_in_a_sentence(A, message):
    with pytest.raises((streamsvd.SpecError, streamsvd.ShapeError), match=message):
        streamsvd.top_eigenvectors(A)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_entry_is_named(tmp_path, bad):
    A = np.ones((300, 4))
    A[217, 2] = bad
    with pytest.raises(streamsvd.NonFiniteError, match=r"at row 217, column 2"):
        streamsvd.top_eigenvectors([A[:100], A[100:]])
    with pytest.raises(streamsvd.NonFiniteError, match=r"at row 217, column 2 .*c/21/0"):
        stored(tmp_path / "a.zarr", A, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0"),
        ({"k": 41}, "k=41 exceeds the 40 columns"),
        ({"passes": 0}, "passes=0"),
        ({"order": "sorted"}, "order='sorted'"),
        ({"width": 1}, "width=1"),
        ({"delta": 1}, "delta=1"),
        ({"n_rows": 7}, "n_rows= is known of a matrix"),
        ({"memory": "much"}, "'much' is no size"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(A, options, message):
    with pytest.raises(streamsvd.SpecError, match=re.escape(message)):
        streamsvd.top_eigenvectors(A, **options)


@pytest.mark.parametrize(
    "A",
    [
        np.zeros((100, 5)),
        np.ones((1, 5)),
        np.outer(np.arange(50.0), np.arange(5.0)),
        np.eye(3, 8),
        np.random.default_rng(0).integers(-5, 5, (300, 6)),
        np.random.default_rng(0).random((300, 6)) < 0.5,
    ],
    ids=["zeros", "one row", "rank one", "wide", "integers", "booleans"],
)
def test_degenerate_matrices_have_orthonormal_answers(A):
    for k in (1, 3):
        for order in ("auto", "arbitrary"):
            result = streamsvd.top_eigenvectors([A], k, order=order)
            components = result.components
            np.testing.assert_allclose(components @ components.T, np.eye(k), atol=1e-12)
            assert np.isfinite(result.values).all()
            truth = np.linalg.eigvalsh(A.T.astype(float) @ A)[::-1][:k]
            slack = 1e-12 * (truth[0] + 1)
            assert (result.certificate.values_lower <= truth + slack).all()
            assert (truth <= result.certificate.values_upper + slack).all()


def test_the_state_does_not_grow_with_the_rows():
    block = np.random.default_rng(0).standard_normal((5_000, 50))
    for order in ("auto", "arbitrary"):
        sizes = set()
        for count in (4, 40):
            result = streamsvd.top_eigenvectors((block for _ in range(count)), 2, order=order)
            sizes.add(result.state_bytes)
            bound = result.bound_bytes
        assert max(sizes) <= bound
        assert bound == state_bytes(StreamOptions(k=2, order=order), 50)
