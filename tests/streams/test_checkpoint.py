"""Streams that are killed go on where they were saved, to the same bits."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.store.checkpoints.checkpoint import Checkpoint
from streamsvd.streams.mathematics import StreamState
from streamsvd.streams.options import StreamOptions
from streamsvd.streams.saved_state import pack_state


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def A():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((6_000, 30)) * ([4, 3] + [1] * 28)).astype("float32")


def blocks(A, stop=None, begin=0):
    for number, a in enumerate(range(begin, len(A), 250)):
        if number == stop:
            raise Killed
        yield A[a : a + 250]


@pytest.mark.parametrize("order", ["auto", "arbitrary"])
@pytest.mark.parametrize("n_rows", [pytest.param(None, marks=[pytest.mark.slow]), 6_000])
@pytest.mark.parametrize("replay", [True, False])
def test_blocks_that_stop_coming_go_on(tmp_path, A, order, n_rows, replay):
    options = {"k": 1, "order": order, "n_rows": n_rows}
    saved = {"checkpoint": tmp_path / "saves", "save_seconds": 0, "replay": replay}
    seen = 0
    for stop in (1, 9, 5):
        with pytest.raises(Killed):
            streamsvd.top_eigenvectors(
                blocks(A, stop if not replay else stop + seen // 250, 0 if replay else seen),
                **options,
                **saved,
            )
        seen += 250 * stop
    result = streamsvd.top_eigenvectors(blocks(A, begin=0 if replay else seen), **options, **saved)
    whole = streamsvd.top_eigenvectors(blocks(A), **options)
    np.testing.assert_array_equal(result.components, whole.components)
    assert result.info.n_rows == 6_000
    assert result.certificate.sine == whole.certificate.sine
    assert Checkpoint.from_address(tmp_path / "saves", "top_eigenvectors").newest() is None


@pytest.mark.parametrize("order", ["auto", "arbitrary"])
def test_a_stored_matrix_goes_on_at_the_window_it_had_reached(tmp_path, A, order, monkeypatch):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(30, 30), dtype="f4")[...] = A
    whole = streamsvd.top_eigenvectors(path, 2, order=order)
    options = {"order": order, "checkpoint": tmp_path / "saves", "save_seconds": 0}

    def killer(after):
        count = 0

        def callback(event):
            nonlocal count
            count += type(event).__name__ == "SpanDone"
            if count == after:
                raise Killed

        return callback

    for after in (2, 3):
        with pytest.raises(Killed):
            streamsvd.top_eigenvectors(path, 2, callback=killer(after), **options)
    seen = []
    result = streamsvd.top_eigenvectors(path, 2, callback=seen.append, **options)
    np.testing.assert_array_equal(result.components, whole.components)
    done = [e.n_finished for e in seen if type(e).__name__ == "SpanDone"]
    assert done[0] > 2
    left = len(done) / seen[-2].spans
    assert whole.info.bytes_read == A.nbytes
    assert 0 < result.info.bytes_read < A.nbytes
    assert result.info.bytes_read == pytest.approx(left * A.nbytes, rel=0.2)  # the last may be less


def test_a_checkpoint_of_another_run_is_refused(tmp_path, A):
    place = tmp_path / "saves"
    with pytest.raises(Killed):
        streamsvd.top_eigenvectors(blocks(A, 3), checkpoint=place, save_seconds=0)
    with pytest.raises(streamsvd.SpecError, match=r"is of a run with k=1, this one has 2"):
        streamsvd.top_eigenvectors(blocks(A), 2, checkpoint=place)
    result = streamsvd.top_eigenvectors(blocks(A), checkpoint=place)
    np.testing.assert_array_equal(
        result.components, streamsvd.top_eigenvectors(blocks(A)).components
    )


def test_a_model_is_no_checkpoint(tmp_path, A):
    streamsvd.update(tmp_path / "m", A[:100], "a", rank=3)
    with pytest.raises(streamsvd.StoreError, match="is a model"):
        streamsvd.top_eigenvectors(blocks(A), checkpoint=tmp_path / "m")


def test_a_face_is_saved_and_loaded_to_the_bit(tmp_path, A):
    stream = streamsvd.TopEigenvectorStream(2, n_rows=6_000).partial_fit(A[:1_777])
    for _ in range(3):
        stream.save(tmp_path / "saves")
    again = streamsvd.TopEigenvectorStream.load(tmp_path / "saves")
    assert again.n_rows_seen == 1_777
    for each in (stream, again):
        each.partial_fit(A[1_777:])
    one, other = stream.finalize(), again.finalize()
    np.testing.assert_array_equal(one.components, other.components)
    assert one.info.bytes_read == other.info.bytes_read
    with pytest.raises(streamsvd.StoreError, match="holds no stream"):
        streamsvd.TopEigenvectorStream.load(tmp_path / "nothing")
    with pytest.raises(streamsvd.SpecError, match="nothing to save"):
        streamsvd.TopEigenvectorStream().save(tmp_path / "other")


def test_a_policy_and_a_mask_are_part_of_what_is_gone_on_with(tmp_path, A):
    place, mask = tmp_path / "saves", np.arange(30) > 1
    with pytest.raises(Killed):
        streamsvd.top_eigenvectors(blocks(A, 3), checkpoint=place, save_seconds=0, mask=mask)
    with pytest.raises(streamsvd.SpecError, match="nonfinite='raise', this one has 'zero'"):
        streamsvd.top_eigenvectors(blocks(A), checkpoint=place, mask=mask, nonfinite="zero")
    with pytest.raises(streamsvd.SpecError, match=r"is of a run with mask="):
        streamsvd.top_eigenvectors(blocks(A), checkpoint=place, mask=np.roll(mask, 5))
    found = streamsvd.top_eigenvectors(blocks(A), checkpoint=place, mask=mask)
    truth = streamsvd.top_eigenvectors(blocks(A), mask=mask)
    np.testing.assert_array_equal(found.components, truth.components)


def test_saves_from_before_there_were_policies_are_gone_on_with(tmp_path, A):
    """The format of what is saved is what it was: plain values of state, run and position, and the arrays of the state."""
    place = Checkpoint.from_address(tmp_path / "saves", "top_eigenvectors")
    state = StreamState(StreamOptions(), 30)
    for block in blocks(A[:1_000]):
        state.partial_fit(block)
    plain, arrays = pack_state(state)
    run = {"options": asdict(StreamOptions()), "n_rows": None}
    place.save({"state": plain, "run": run, "position": 1_000}, arrays)
    came = []
    rest = (came.append(block) or block for block in blocks(A, begin=1_000))
    found = streamsvd.top_eigenvectors(rest, checkpoint=tmp_path / "saves", replay=False)
    truth = streamsvd.top_eigenvectors(blocks(A))
    np.testing.assert_array_equal(found.components, truth.components)
    assert len(came) == 20


@pytest.mark.parametrize("way", ["stored", "blocks"])
def test_what_is_no_time_between_saves_is_refused(tmp_path, A, way):
    given = A if way == "stored" else [A]
    with pytest.raises(streamsvd.SpecError, match="save_seconds=-1 is no time"):
        streamsvd.top_eigenvectors(given, checkpoint=tmp_path / "saves", save_seconds=-1)


def test_a_run_killed_in_a_further_pass_ends_with_the_same_bits(tmp_path, A):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(30, 30), dtype="f4")[...] = A
    options = {"passes": 2, "checkpoint": tmp_path / "saves", "save_seconds": 0}

    def stop(event):
        if type(event).__name__ == "SpanDone" and event.number == 2 and event.n_finished == 2:
            raise Killed

    with pytest.raises(Killed):
        streamsvd.top_eigenvectors(path, 2, callback=stop, **options)
    result = streamsvd.top_eigenvectors(path, 2, **options)
    whole = streamsvd.top_eigenvectors(path, 2, passes=2)
    np.testing.assert_array_equal(result.components, whole.components)
    assert whole.info.passes == result.info.passes == 2
    assert result.info.bytes_read == A.nbytes  # the first pass was saved
