"""What is to be done for one step whose result is not there, and what came of it."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streamsvd.engine.events import Callback
from streamsvd.errors import CheckpointMismatch, NotConverged, StreamSVDError
from streamsvd.models import Model
from streamsvd.numerics.row_fits import RowFit
from streamsvd.pipelines.arguments import accepts, results_of
from streamsvd.pipelines.description import Pipeline, Step
from streamsvd.pipelines.records import Status, StepRecord
from streamsvd.pipelines.sources import model_version
from streamsvd.pipelines.vocabulary import INPUTS
from streamsvd.protocols import Source
from streamsvd.store.collections.archive import CompressedStore
from streamsvd.store.results.loading import load
from streamsvd.store.results.reader import is_result
from streamsvd.store.sources.views.adjusted import stored_rows, with_stored_rows
from streamsvd.verbs import VERBS

EMPTY = "its model has absorbed nothing yet"


@dataclass(slots=True, eq=False)
class StepOutcome:
    """What came of a step: its record, and its result; None where it has none yet."""

    record: StepRecord
    result: Any


@dataclass(frozen=True, slots=True, eq=False)
class StepWork:
    """A verb that is to be called.

    Attributes
    ----------
    pipeline, step
        The step, and where it belongs.
    inputs, options
        What its verb is given.
    key
        Digest of what is asked and of what is read; of an update it is known afterwards.
    saves
        Where it saves what it finds on the way.
    """

    pipeline: Pipeline
    step: Step
    inputs: list[Any]
    options: dict[str, Any]
    key: str
    saves: Path

    def make(self, callback: Callback) -> StepOutcome:
        """Call the verb, and put its result where those of the step are.

        Raises
        ------
        StreamSVDError
            What the verb raises; also where it did not converge, which it says, and where what it found so far is.
        """
        began = time.perf_counter()
        if self.step.verb == "update":
            return self._update(callback, began)
        place, options = results_of(self.pipeline, self.step) / self.key, dict(self.options)
        place.parent.mkdir(parents=True, exist_ok=True)
        if accepts(self.step, "out"):
            options["out"] = place
        if accepts(self.step, "checkpoint"):
            options["checkpoint"] = self.saves
        result, shortfall = self._call(options, callback)
        if not is_whole(place):
            result.save(place)
        if shortfall:
            raise StreamSVDError(
                f"{shortfall} What was found so far is in {place}, and is not published."
            )
        record = _record(self.step, "done", self.key, place, began, result.info)
        return StepOutcome(record, result)

    def with_source(self, source: Source, memory: int | None) -> StepWork:
        """The same, with its matrix read by another object, and other memory if any is given."""
        inputs, opened = list(self.inputs), self.inputs[self._place_of_source]
        inputs[self._place_of_source] = with_stored_rows(opened, source)
        options = self.options if memory is None else self.options | {"memory": memory}
        return replace(self, inputs=inputs, options=options)

    @property
    def source(self) -> Any:
        """The matrix that it reads, as it is stored."""
        return stored_rows(self.inputs[self._place_of_source])

    @property
    def mean_bytes(self) -> int:
        """Bytes of the means that are subtracted from its rows."""
        fit = getattr(self.inputs[self._place_of_source], "fit", None)
        return fit.nbytes if isinstance(fit, RowFit) else 0

    @property
    def _place_of_source(self) -> int:
        return [*INPUTS[self.step.verb].values()].index("source")

    def _call(self, options: dict[str, Any], callback: Callback) -> tuple[Any, str]:
        """What the verb finds; and where it does not converge, what it has found so far, and what it says of that.

        Saves are of a run that was cut in the same way. Where other memory cuts it otherwise, they are of no use; no other error
        takes them away.
        """
        function = VERBS[self.step.verb].resolve("function")
        try:
            try:
                return function(*self.inputs, **options, callback=callback), ""
            except CheckpointMismatch:
                shutil.rmtree(self.saves)
                return function(*self.inputs, **options, callback=callback), ""
        except NotConverged as error:
            return error.result, error.message.partition(" The result so far")[0]

    def _update(self, callback: Callback, began: float) -> StepOutcome:
        """New rows into a model, which knows what it has; its newest version becomes a result."""
        step, model = self.step, self.inputs[0]
        report = VERBS["update"].resolve("function")(
            *self.inputs, **self.options, callback=callback
        )
        status: Status = "done" if report.n_absorbed else "unchanged"
        key = model_version(model)
        if not key:
            empty = StepRecord(name=step.name, verb=step.verb, status=status, error=EMPTY)
            return StepOutcome(empty, None)
        place = results_of(self.pipeline, step) / key
        if not is_whole(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            Model.open(model, int(key[1:].partition("-")[0])).as_svd().save(place)
        return StepOutcome(_record(step, status, key, place, began, report.info), load(place))


def is_whole(place: Path) -> bool:
    """Whether a result is there; a collection is only once it has a version."""
    store = CompressedStore.from_address(place)
    return store.versions.newest() > 0 if store.is_there() else is_result(place)


def _record(
    step: Step, status: Status, key: str, place: Path, began: float, info: Any
) -> StepRecord:
    """What a step did that has a result."""
    return StepRecord(
        name=step.name, verb=step.verb, status=status, key=key, place=str(place), seconds=time.perf_counter() - began,
        passes=float(info.passes), bytes_read=info.bytes_read, peak_bytes=info.peak_bytes,
        projected_bytes=info.projected_bytes, n_rows=info.n_rows, warnings=tuple(info.warnings),
    )  # fmt: skip
