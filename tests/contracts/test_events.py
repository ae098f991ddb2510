"""Events add up: each pass is begun and done once, its spans are counted, and its bytes are those of the record."""

from __future__ import annotations

from itertools import pairwise

import pytest

from streamsvd.engine.events import PassDone, PassStarted, SpanDone
from tests.contracts.verbs import reference, where


@pytest.mark.parametrize("contract", where("callback"))
def test_events_add_up(contract):
    told = reference(contract).events
    begun = [e for e in told if isinstance(e, PassStarted)]
    ended = [e for e in told if isinstance(e, PassDone)]
    assert [e.number for e in begun] == list(range(1, len(begun) + 1))
    assert [(e.number, e.purpose) for e in begun] == [(e.number, e.purpose) for e in ended]
    for start, end in zip(begun, ended, strict=True):
        spans = [e for e in told if isinstance(e, SpanDone) and e.number == start.number]
        assert spans
        assert all(a.n_finished < b.n_finished for a, b in pairwise(spans))
        assert {e.spans for e in spans} == {spans[-1].n_finished}
        places = [told.index(e) for e in (start, spans[0], spans[-1], end)]
        assert places == sorted(places)
        assert end.elapsed_s >= 0
    if contract.can("record"):
        looked = reference(contract).result.info.bytes_read - sum(e.bytes_read for e in begun)
        assert looked >= 0
        assert (looked > 0) == bool(contract.looks)
