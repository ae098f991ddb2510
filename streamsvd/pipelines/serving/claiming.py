"""Where the claims on the times of a pipeline are, and the clocks by which they are made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from streamsvd.checks.paths import is_url
from streamsvd.pipelines.claims import ClaimLog
from streamsvd.pipelines.description import Pipeline
from streamsvd.store.objects import objects_at


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, and seconds that never go back."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic


CLOCK = Clock()


def claims_of(pipeline: Pipeline, clock: Clock = CLOCK) -> ClaimLog:
    """The log of claims of a pipeline."""
    place, folder = claims_place(pipeline)
    return ClaimLog(objects_at(place), folder, now=clock.now, monotonic=clock.monotonic)


def claims_place(pipeline: Pipeline) -> tuple[str, str]:
    """Where the claims are, and the folder there: in the state, or in a place for those of several pipelines, by their names."""
    place = pipeline.timing.claims
    if place is None:
        return os.fspath(pipeline.state), "claims"
    return (place if is_url(place) else os.fspath(pipeline.place(place))), pipeline.name
