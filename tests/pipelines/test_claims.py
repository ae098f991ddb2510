"""Claims: whoever contends, whatever clocks say and whoever dies, no time is run twice, and no two runs publish at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.errors import ConflictError, SpecError, StoreError
from streamsvd.pipelines import claim as claim_module
from streamsvd.pipelines import claims
from streamsvd.pipelines.claim import open_claim
from streamsvd.pipelines.claims import (
    LEASE_S,
    MOST_ATTEMPTS,
    MOST_ENTRIES,
    RUN,
    ClaimLog,
)
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.records import RunLog
from streamsvd.store.objects import objects_at
from tests.pipelines.kit import SVD, Watch, write, write_matrix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one matrix, whose name has a space."""
    return write_matrix(tmp_path / "my data")


class Seconds:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.value = 0.0

    def __call__(self) -> float:
        return self.value


class Memory:
    """Objects in memory, as a store of objects has them."""

    name = "memory"

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def read(self, key):
        try:
            return self.held[key]
        except KeyError:
            raise FileNotFoundError(key) from None

    def create(self, key, data):
        with self.lock:
            return self.held.setdefault(key, data) is data

    def replace(self, key, data):
        self.held[key] = data

    def names(self, folder):
        return sorted(
            {key.split("/")[1] for key in list(self.held) if key.startswith(f"{folder}/")}
        )

    def remove(self, keys):
        for key in keys:
            self.held.pop(key, None)


def log_at(path: Path, seconds: Seconds | None = None) -> ClaimLog:
    return ClaimLog(objects_at(path), monotonic=seconds or Seconds())


def test_a_time_is_claimed_once(tmp_path):
    one, other = log_at(tmp_path), log_at(tmp_path)
    assert one.take(100) == 1
    assert other.take(100) == "running"
    assert other.take(200) == "busy"
    one.end(1, "done")
    assert other.take(100) == "claimed"
    assert other.take(200) == 2
    other.end(2, "done")
    assert [one.take(t) for t in (100, 200)] == ["claimed", "claimed"]


def test_a_clock_that_goes_a_day_forward_and_back_neither_skips_nor_doubles(tmp_path):
    log = log_at(tmp_path)
    day, run = 86400, []
    clock = [0, 3600, 2 * 3600, day + 2 * 3600, day + 3 * 3600, 2 * 3600, 3 * 3600, 4 * 3600]
    clock += [*range(5 * 3600, day + 5 * 3600, 3600)]
    for now in clock:
        number = log_at(tmp_path).take(now) if now % 7200 else log.take(now)
        if isinstance(number, int):
            run.append(now)
            log.end(number, "done")
    assert sorted(run) == sorted(set(clock))
    assert len(run) == len(set(run))


def test_the_first_entry_only_says_from_when_on_times_count(tmp_path):
    one, other = log_at(tmp_path), log_at(tmp_path)
    one.mark_first(100)
    other.mark_first(200)
    assert other.take(100) == "claimed"
    assert other.take(200) == 2


def test_who_gives_no_sign_of_life_is_given_up_and_publishes_nothing(tmp_path):
    seconds = Seconds()
    first, second = log_at(tmp_path), log_at(tmp_path, seconds)
    number = first.take(100)
    run = open_claim(first, number)
    assert second.take(200) == "busy"
    seconds.value = LEASE_S - 1
    first.beat(number, b"alive")
    assert second.take(200) == "busy"
    seconds.value += LEASE_S - 1
    assert second.take(200) == "busy"
    seconds.value += 1
    assert second.take(200) == 2
    with pytest.raises(
        ConflictError,
        match=r"claim 1 on 1970-01-01T00:01:40\+00:00 was given up.*Nothing is published",
    ):
        run.check_right()
    open_claim(second, 2).check_right()
    with pytest.raises(ConflictError, match="claim 1 has ended"):
        open_claim(first, 1)


def test_who_publishes_cannot_be_given_up_before_but_is_after(tmp_path):
    seconds = Seconds()
    first, second = log_at(tmp_path), log_at(tmp_path, seconds)
    run = open_claim(first, first.take(100))
    run.check_right()
    run.check_right()
    assert second.take(200) == "busy"
    seconds.value = LEASE_S
    assert second.take(200) == 2
    assert objects_at(tmp_path).read("claims/000001.fence") == RUN


def test_a_claim_that_is_none_is_refused_in_words(tmp_path):
    log = log_at(tmp_path)
    with pytest.raises(SpecError, match=r"claim=7 is not in .*claims.*leave it out"):
        open_claim(log, 7)
    log.mark_first(100)
    with pytest.raises(SpecError, match="claim=1 is not in"):
        open_claim(log, 1)


def test_an_entry_that_is_damaged_is_named(tmp_path):
    log_at(tmp_path).take(100)
    (tmp_path / "claims" / "000001.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"claims/000001.json is no claim.*Stop all servers"):
        log_at(tmp_path).take(200)


def test_old_entries_go_and_their_times_stay_claimed():
    memory = Memory()
    log, slow = ClaimLog(memory), ClaimLog(memory)
    assert slow.take(0) == 1
    zombie = open_claim(slow, 1)
    slow.end(1, "done")
    for tick in range(1, 3 * MOST_ENTRIES):
        log.end(log.take(tick), "done")
    assert len(memory.held) < 3 * (MOST_ENTRIES + 10)
    assert ClaimLog(memory).take(5) == "claimed"
    with pytest.raises(ConflictError, match="was given up"):
        zombie.check_right()  # whose fence was taken away
    assert slow.take(5) == "claimed"  # who slept meanwhile finds the end of the log
    assert slow.take(10**6) == 3 * MOST_ENTRIES + 1


def test_who_slept_between_look_and_claim_does_not_revive_an_old_number(monkeypatch):
    memory = Memory()
    slow, log = ClaimLog(memory), ClaimLog(memory)
    slow.end(slow.take(0), "done")
    create = memory.create

    def sleeping(key, data):
        if key == "claims/000002.json" and memory.create is not create:
            memory.create = create
            for tick in range(1, 2 * MOST_ENTRIES):
                log.end(log.take(tick), "done")
        return create(key, data)

    memory.create = sleeping
    assert slow.take(5) == "busy"
    assert "claims/000002.json" not in memory.held
    assert slow.take(5) == "claimed"


def test_a_time_older_than_what_is_remembered_counts_as_claimed(monkeypatch):
    monkeypatch.setattr(claims, "MOST_TICKS", 60)
    memory = Memory()
    log = ClaimLog(memory)
    for tick in range(10, 70):
        log.end(log.take(tick), "done")
    assert log.take(3) == "claimed"
    assert log.take(10**6) == 61


def contend(logs: list[ClaimLog], ticks: int) -> list[int]:
    """Ticks that were run, by threads that all want each of them."""
    run: list[int] = []
    running = threading.Semaphore(1)
    barrier = threading.Barrier(len(logs))

    def serve(log: ClaimLog) -> None:
        barrier.wait()
        for tick in range(ticks):
            while True:
                number = log.take(tick)
                if number == "claimed":
                    break
                if isinstance(number, int):
                    assert running.acquire(blocking=False), "two runs at once"
                    run.append(tick)
                    running.release()
                    log.end(number, "done")
                    break

    threads = [threading.Thread(target=serve, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return run


def test_of_a_hundred_contended_times_none_is_run_twice():
    memory = Memory()
    assert contend([ClaimLog(memory) for _ in range(2)], 100) == list(range(100))


PROCESS = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from streamsvd.pipelines.claims import ClaimLog
from streamsvd.store.objects import objects_at
log = ClaimLog(objects_at({place!r}))
print("ready", flush=True)
sys.stdin.readline()
for tick in range(100):
    while (number := log.take(tick)) in ("busy", "running"):
        pass
    if number != "claimed":
        print(tick)
        log.end(number, "done")
"""


def test_of_a_hundred_times_that_processes_contend_for_none_is_run_twice(tmp_path):
    program = PROCESS.format(path=sys.path, place=str(tmp_path))
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    run = [[int(line) for line in child.communicate()[0].split()] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(run[0] + run[1]) == list(range(100))


ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["take", "take", "end", "stop", "die", "beat", "publish", "wait"]),
        st.integers(-3, 6),
    ),
    max_size=60,
)


@given(ACTIONS)
def test_whatever_servers_do_each_time_is_published_once_and_by_one_at_a_time(actions):
    memory, seconds = Memory(), Seconds()
    logs = [ClaimLog(memory, monotonic=seconds) for _ in range(3)]
    running: dict[int, tuple[int, int]] = {}  # server: claim and time
    published: dict[int, set[int]] = {}  # time: claims
    begun: Counter[int] = Counter()
    now = 10
    for server, action, skew in actions:
        log = logs[server]
        number, tick = running.get(server, (0, 0))
        if action == "wait":
            seconds.value += LEASE_S / 2
            now += 1
        elif action == "take" and not number:
            found = log.take(now + skew)  # its clock is off
            if isinstance(found, int):
                running[server] = found, now + skew
                begun[now + skew] += 1
        elif action in ("end", "stop") and number:
            if action == "stop":
                log.leave(number)
            log.end(number, "done" if action == "end" else "interrupted")
            del running[server]
        elif action == "die":
            running.pop(server, None)
            logs[server] = ClaimLog(memory, monotonic=seconds)
        elif action == "beat" and number:
            log.beat(number, str(seconds.value).encode())
        elif action == "publish" and number and log.take_fence(number):
            newest = log.newest()
            assert newest is not None
            first = number not in published.setdefault(tick, set())
            assert newest.number == number or not first
            published[tick].add(number)
    assert all(len(numbers) == 1 for numbers in published.values())
    assert all(count <= MOST_ATTEMPTS for count in begun.values())


def test_a_run_that_was_cut_off_with_its_server_is_gone_on_with_by_the_next():
    memory, seconds = Memory(), Seconds()
    log, other = ClaimLog(memory), ClaimLog(memory, monotonic=seconds)
    assert log.take(100) == 1
    log.leave(1)
    assert other.take(100) == "running"
    log.end(1, "interrupted")
    assert other.take(100) == 2
    assert log.take(100) == "running"
    seconds.value = LEASE_S  # as the first sees it, whose clock stands, it may live
    watcher = ClaimLog(memory, monotonic=seconds)
    assert watcher.take(100) == "running"
    seconds.value += LEASE_S
    assert watcher.take(100) == 3
    watcher.leave(3)
    watcher.end(3, "interrupted")
    assert log.take(100) == "claimed"  # three times are enough
    assert log.take(200) == 4


@pytest.mark.parametrize(
    ("how", "is_left", "publishes", "expected"),
    [
        ("interrupted", True, False, 2),
        ("exit code -15", True, False, 2),
        ("interrupted", False, False, "claimed"),  # somebody stopped that run
        ("exit code -9", False, False, "claimed"),  # as for lack of memory
        ("done", True, False, "claimed"),
        ("failed", True, False, "claimed"),
        ("interrupted", True, True, "claimed"),
    ],
)
def test_a_run_that_ended_otherwise_is_not(how, is_left, publishes, expected):
    log = ClaimLog(Memory())
    number = log.take(100)
    assert isinstance(number, int)
    if is_left:
        log.leave(number)
    if publishes:
        open_claim(log, number).check_right()
    log.end(number, how)
    assert log.take(100) == expected


def test_a_run_under_a_claim_records_it_and_ends_it(folder):
    pipeline = write(folder, SVD)
    log = log_at(pipeline.state)
    claim = open_claim(log, log.take(1_800_000_000))
    record = run_pipeline(pipeline, claim=claim)
    assert (record.claim, record.tick) == (1, "2027-01-15T08:00:00+00:00")
    assert log.has_ended(claim.record)
    assert RunLog(pipeline.state).records() == [record]
    assert log.take(1_800_000_060) == 2


def test_a_run_whose_claim_was_given_up_publishes_nothing(folder):
    pipeline = write(folder, SVD + '[[publish]]\nstep = "eof"\nto = "latest"\n')
    log, seconds = log_at(pipeline.state), Seconds()
    claim = open_claim(log, log.take(100))
    watcher = log_at(pipeline.state, seconds)
    assert watcher.take(200) == "busy"

    def give_up(event: object) -> None:
        seconds.value += LEASE_S
        while watcher.take(200) == "busy":
            seconds.value += LEASE_S

    with pytest.raises(ConflictError, match="claim 1 .* was given up"):
        run_pipeline(pipeline, claim=claim, callback=give_up)
    (record,) = RunLog(pipeline.state).records()
    assert (record.status, record.published) == ("failed", ())
    assert "was given up" in record.error
    assert not (folder / "latest").exists()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError])
def test_however_a_run_ends_its_claim_does(folder, raised):
    pipeline = write(folder, SVD)
    log = log_at(pipeline.state)
    claim = open_claim(log, log.take(100))
    with pytest.raises(raised):
        run_pipeline(pipeline, claim=claim, callback=Watch(1, raised))
    assert log.has_ended(claim.record)


def test_a_run_gives_signs_of_life(folder, monkeypatch):
    monkeypatch.setattr(claim_module, "BEAT_S", 0.001)
    pipeline = write(folder, SVD)
    log = log_at(pipeline.state)
    claim = open_claim(log, log.take(100))
    beats = []
    seen = threading.Event()
    beat = log.beat

    def count(number: int, sign: bytes) -> None:
        beat(number, sign)
        beats.append(sign)
        if len(beats) > 2:
            seen.set()

    monkeypatch.setattr(log, "beat", count)
    run_pipeline(pipeline, claim=claim, callback=lambda event: seen.wait(60))
    assert len(set(beats)) == len(beats) > 2


@pytest.mark.slow
def test_claims_may_lie_in_a_store_of_objects(bucket):
    logs = [ClaimLog(objects_at(f"{bucket}/here"), "stations") for _ in range(2)]
    assert contend(logs, 8) == list(range(8))


def test_entries_say_who_claimed_for_people(tmp_path):
    log_at(tmp_path).take(100)
    entry = json.loads((tmp_path / "claims" / "000001.json").read_text())
    assert entry["tick"] == 100
    assert entry["holder"].startswith("process ")
