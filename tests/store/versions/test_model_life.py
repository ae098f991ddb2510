"""Any life of a model: blocks, crashes, full disks, damage, repair, rollbacks, second writers, collections."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamsvd import Model, SpecError, StoreError
from streamsvd.models import repair_model
from streamsvd.store.objects import objects_at
from streamsvd.store.versions import ModelStore, check_store
from tests.faults.model_kit import (
    Failing,
    Killed,
    applied,
    assert_serial,
    block_of,
    files_of,
    model_with,
    no_space,
)

CALLS = st.integers(1, 60)
WHERE = st.floats(0, 1, exclude_max=True)


class Life(RuleBasedStateMachine):
    """Beside the model: which blocks are in it, in order, and what every version held."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="streamsvd-life-"))
        self.path = self.folder / "model"
        self.names: list[str] = []
        self.history: dict[int, list[str]] = {}
        self.damaged: set[str] = set()
        self.number = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @initialize(keep=st.integers(2, 4), center=st.booleans(), u=st.booleans())
    def begin(self, keep: int, center: bool, u: bool) -> None:
        self.model = Model.create(self.path, 3, keep=keep, center=center, u=u)
        self.other = Model.open(self.path)

    def fresh(self) -> str:
        self.number += 1
        return f"b{self.number}"

    def absorbed(self, name: str, version: int) -> None:
        self.names = [*self.names, name]
        self.history[version] = self.names

    # Blocks -------------------------------------------------------------------------------------------

    @rule()
    def update(self) -> None:
        name = self.fresh()
        done = self.model.update(block_of(name), name)
        assert done.n_absorbed == 4
        self.absorbed(name, done.version)

    @rule()
    def update_by_the_other_writer(self) -> None:
        name = self.fresh()
        done = self.other.update(block_of(name), name)
        assert done.n_absorbed == 4
        self.absorbed(name, done.version)

    @precondition(lambda self: self.names)
    @rule(which=WHERE, other=st.booleans())
    def send_again(self, which: float, other: bool) -> None:
        name = self.names[int(which * len(self.names))]
        done = (self.other if other else self.model).update(block_of(name), name)
        assert (done.n_absorbed, done.skip_reason, done.versions) == (0, "known", 0)

    @precondition(lambda self: self.names)
    @rule(which=WHERE)
    def send_other_content(self, which: float) -> None:
        name = self.names[int(which * len(self.names))]
        with pytest.raises(SpecError, match="with other content"):
            self.model.update(block_of(name + "'"), name)

    # Faults -------------------------------------------------------------------------------------------

    @rule(at=CALLS, full=st.booleans(), after=st.booleans())
    def fail(self, at: int, full: bool, after: bool) -> None:
        name = self.fresh()
        files = Failing(at, no_space if full else Killed, after=after)
        raised = False
        try:
            model_with(self.path, files).update(block_of(name), name)
        except (StoreError, Killed):
            raised = True
        found = Model.open(self.path)
        assert applied(found) in (self.names, [*self.names, name])
        assert raised or name in applied(found)
        if name in applied(found):
            self.absorbed(name, found.version)

    @rule()
    def open_again(self) -> None:
        self.model = Model.open(self.path)

    @precondition(lambda self: self.history and not self.damaged)
    @rule(which=WHERE, where=WHERE, gone=st.booleans())
    def damage_and_repair(self, which: float, where: float, gone: bool) -> None:
        whole = files_of(self.path)
        keys = sorted(k for k, v in whole.items() if v and not k.endswith(".tmp"))
        key = keys[int(which * len(keys))]
        data = bytearray(whole[key])
        if gone:
            (self.path / key).unlink()
        else:
            data[int(where * len(data))] ^= 16
            (self.path / key).write_bytes(bytes(data))
        found, version = check_store(ModelStore(objects_at(self.path)))
        if not found:  # rubbish that nobody needs
            (self.path / key).write_bytes(whole[key])
            return
        assert {d.key for d in found} == {key}
        if not version:
            with pytest.raises(StoreError, match="no version that is whole"):
                repair_model(self.path)
            (self.path / key).write_bytes(whole[key])
            return
        self.model, _ = repair_model(self.path)
        self.other = Model.open(self.path)
        assert applied(self.model) == self.history[version]
        self.names = self.history[version]
        for entry in self.model.versions:
            if not entry.folder:  # it says that the version was lost
                self.history.pop(entry.version, None)
        self.history[self.model.version] = self.names
        self.damaged = {d.key for d in self.model.verify()}
        assert self.damaged <= {key}

    # Tidying ------------------------------------------------------------------------------------------

    @rule(other=st.booleans())
    def collect(self, other: bool) -> None:
        try:
            (self.other if other else self.model).collect()
        except StoreError:
            assert self.damaged

    @precondition(lambda self: len(self.history) > 1)
    @rule(which=WHERE)
    def roll_back(self, which: float) -> None:
        self.model = Model.open(self.path)
        floor, newest = self.model._held.manifest.floor, self.model.version
        version = floor + int(which * (newest - floor + 1))
        try:
            self.model.rollback(version)
        except StoreError:
            assert self.damaged or version not in self.history
            return
        self.names = self.history[version]
        self.history[self.model.version] = self.names

    # What always holds --------------------------------------------------------------------------------

    @invariant()
    def the_model_is_a_serial_run_over_its_blocks(self) -> None:
        if not hasattr(self, "model"):
            return
        model = Model.open(self.path)
        assert assert_serial(model) == self.names
        versions = [entry.version for entry in model.versions]
        assert versions == list(range(1, len(versions) + 1))

    @invariant()
    def every_object_that_is_needed_is_what_was_written(self) -> None:
        if not hasattr(self, "model"):
            return
        found = {d.key for d in Model.open(self.path).verify()}
        assert found <= self.damaged
        self.damaged = found


CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


class TestLife(Life.TestCase):
    settings = settings(
        phases=[Phase.generate],  # shrinking a life takes longer than reading it
        max_examples=25,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=CHECKS,
    )


@pytest.mark.slow
class TestLongLife(Life.TestCase):
    settings = settings(
        max_examples=400, stateful_step_count=50, deadline=None, suppress_health_check=CHECKS
    )
