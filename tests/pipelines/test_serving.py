"""The server, with a clock that is told what it is and runs that are told when they end: which times are run, and by whom."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamsvd.errors import DescriptionError, SpecError, StoreError
from streamsvd.pipelines.claim import open_claim
from streamsvd.pipelines.claims import LEASE_S
from streamsvd.pipelines.journal import JournalEntry
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.serving.claiming import Clock, claims_of
from streamsvd.pipelines.serving.folder import FileOffer, FolderOffers, Offer
from streamsvd.pipelines.serving.server import Server
from tests.pipelines.kit import SVD, write, write_matrix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one matrix, whose name has a space."""
    return write_matrix(tmp_path / "my data")


HOURLY = 'schedule = "0 * * * *"\n' + SVD
BEGIN = datetime(2026, 11, 29, 10, 30, tzinfo=UTC)


@dataclass(eq=False)
class FakeChild:
    """A run that ends when it is told to."""

    code: int | None = 0
    pid: int = 7
    stops: list[str] = field(default_factory=list)

    def poll(self) -> int | None:
        return self.code

    def wait(self) -> int:
        assert self.code is not None, "it was waited for, and nobody ends it"
        return self.code

    def stop(self) -> None:
        self.stops.append("stop")

    def kill(self) -> None:
        self.stops.append("kill")
        self.code = -9


class World:
    """A server in a folder, and what it does at which time."""

    def __init__(self, folder: Path, *, draw: float = 0.0, code: int | None = 0) -> None:
        self.now, self.seconds = BEGIN, 0.0
        self.code = code
        self.run: list[str] = []
        self.children: list[FakeChild] = []
        self.entries: list[JournalEntry] = []
        clock = Clock(lambda: self.now, lambda: self.seconds)
        self.server = Server(
            FolderOffers(folder), self.start, self.entries.append, clock=clock, draw=lambda: draw
        )

    def start(self, offer: Offer, claim: int) -> FakeChild:
        tick = open_claim(claims_of(offer.pipeline), claim).tick
        child = FakeChild(self.code)
        self.children.append(child)
        self.run.append(f"{offer.pipeline.name} {datetime.fromisoformat(tick):%d %H:%M}")
        return child

    def at(self, text: str) -> list[str]:
        """What is started by looks at a time."""
        day, _, clock = text.rpartition(" ")
        hour, minute = map(int, clock.split(":"))
        self.now = self.now.replace(day=int(day) if day else self.now.day, hour=hour, minute=minute)
        self.seconds += 60
        before = len(self.run)
        self.server.look()
        self.server.look()
        return self.run[before:]

    def texts(self, event: str) -> list[str]:
        return [f"{e.pipeline}: {e.text}" for e in self.entries if e.event == event]


@pytest.fixture
def world(folder: Path) -> World:
    """A server of one pipeline that runs every hour; it began at half past ten."""
    write(folder, HOURLY)
    found = World(folder)
    assert found.at("10:31") == []
    return found


def test_each_time_is_run_when_it_comes_and_once(world):
    assert [world.at(t) for t in ("10:59", "11:00", "11:01", "11:59")] == [
        [],
        ["p 29 11:00"],
        [],
        [],
    ]
    assert world.at("12:00") == ["p 29 12:00"]
    assert world.texts("tick") == [f"p: 2026-11-29T{h}:00:00Z: process 7 runs it" for h in (11, 12)]


def test_times_that_were_missed_are_one_run(world):
    assert world.at("17:45") == ["p 29 17:00"]
    assert world.at("18:00") == ["p 29 18:00"]


def test_a_server_that_starts_makes_up_for_what_nobody_claimed(world, folder):
    later = World(folder)
    assert later.at("13:10") == ["p 29 13:00"]
    assert world.at("13:11") == []  # that was another's
    assert World(folder).at("13:12") == []


def test_two_runs_of_one_pipeline_do_not_overlap(world, folder):
    world.code = None
    assert world.at("11:00") == ["p 29 11:00"]
    assert world.at("12:00") == world.at("13:30") == []
    other = World(folder)
    assert other.at("13:30") == []
    assert other.texts("wait") == [
        "p: 2026-11-29T13:00:00Z waits: the claim before it has not ended"
    ]
    world.children[0].code = 0
    assert world.at("13:31") == ["p 29 13:00"]
    assert other.at("13:31") == []


def test_a_run_by_hand_is_waited_for(world, folder):
    with run_lock(folder / "p.runs"):
        assert world.at("11:00") == []
        assert "waits: a run goes on (process " in world.texts("wait")[0]
    assert world.at("11:05") == ["p 29 11:00"]


def test_a_clock_that_jumps_a_day_and_back_neither_skips_nor_doubles(world):
    assert world.at("11:00") == ["p 29 11:00"]
    assert world.at("30 11:10") == ["p 30 11:00"]
    assert world.at("29 11:20") == []
    assert world.at("29 12:00") == ["p 29 12:00"]
    assert world.at("29 11:00") == world.at("29 12:30") == []
    hours = [world.at(f"{29 + (h >= 24)} {h % 24:02}:01") for h in range(13, 24 + 13)]
    assert [r for h in hours for r in h] == [
        f"p {29 + (h >= 24)} {h % 24:02}:00" for h in range(13, 24 + 13) if h != 24 + 11
    ]


def test_a_second_server_whose_clock_is_off_doubles_nothing(world, folder):
    ahead = World(folder)
    for hour in range(11, 20):
        ahead.at(f"{hour + 2}:01")
        world.at(f"{hour}:01")
    run = world.run + ahead.run
    assert len(run) == len(set(run)) == 11
    assert sorted(run) == [f"p 29 {hour}:00" for hour in range(11, 22)]


def test_of_servers_that_look_at_once_one_runs_each_of_a_hundred_times(folder):
    write(folder, 'schedule = "* * * * *"\n' + SVD)
    servers = [World(folder) for _ in range(2)]
    barrier = threading.Barrier(len(servers))

    def serve(world: World) -> None:
        for minute in range(101):
            world.now, world.seconds = BEGIN + timedelta(minutes=minute), 60.0 * minute
            barrier.wait()
            world.server.look()
            barrier.wait()
            world.server.look()

    threads = [threading.Thread(target=serve, args=(world,)) for world in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = servers[0].run + servers[1].run
    assert len(set(run)) == len(run) == 100
    assert all(world.texts("fault") == [] for world in servers)


def test_a_run_that_was_killed_does_not_hold_up_the_next(world):
    world.code = -9
    assert world.at("11:00") == ["p 29 11:00"]
    assert world.texts("exit") == ["p: its run was killed by signal 9"]
    assert world.at("12:00") == ["p 29 12:00"]


def test_a_server_that_died_with_its_run_is_waited_for_and_then_given_up(world, folder):
    world.code = None
    assert world.at("11:00") == ["p 29 11:00"]
    other = World(folder)
    assert other.at("12:00") == []
    other.seconds += LEASE_S
    assert other.at("12:05") == ["p 29 12:00"]


def test_while_its_time_is_the_newest_it_is_gone_on_with(world, folder):
    world.code = None
    assert world.at("11:00") == ["p 29 11:00"]
    other = World(folder)
    assert other.at("11:05") == []
    assert other.texts("wait") == []
    other.seconds += LEASE_S
    assert other.at("11:10") == ["p 29 11:00"]


def test_a_delay_is_drawn_and_takes_nothing_away(folder):
    write(folder, "jitter = 150\n" + HOURLY)
    world = World(folder, draw=0.5)
    world.at("10:31")
    assert world.at("11:00") == world.at("11:00") == []  # each a minute of the other clock later
    assert world.at("11:02") == ["p 29 11:00"]


def test_files_that_come_change_and_go_are_taken_up(world, folder):
    write(folder, HOURLY, name="q.toml")
    assert world.at("11:00") == ["p 29 11:00"]
    assert world.texts("serve")[1] == "q: is served: 0 * * * * (UTC), next 2026-11-29T12:00:00Z"
    assert world.at("12:00") == ["p 29 12:00", "q 29 12:00"]
    (folder / "p.toml").unlink()
    assert world.at("13:00") == ["q 29 13:00"]
    assert world.texts("leave") == ["p: is served no more"]
    write(folder, HOURLY.replace("0 *", "30 *"), name="q.toml")
    assert world.at("13:20") == []  # 12:30 is of the new line, and was never to be run
    assert world.at("13:30") == ["q 29 13:30"]


def test_a_broken_file_is_reported_once_and_stops_no_other(world, folder):
    (folder / "q.toml").write_text(HOURLY.replace("rank", "rnk"))
    (folder / "r.toml").write_text("schedule = ")
    (folder / "other.toml").write_text("[tool]\nname = 3\n")  # none of ours
    assert world.at("11:00") == ["p 29 11:00"]
    said = world.texts("fault")
    assert len(said) == 2
    assert ": q.toml is not served: " in said[0]
    assert "unknown field 'rnk' - at $.steps[0].svd" in said[0]
    assert ": r.toml is not served: " in said[1]
    write(folder, HOURLY, name="q.toml")
    world.at("11:30")
    assert world.at("12:00") == ["p 29 12:00", "q 29 12:00"]
    assert len(world.texts("fault")) == 2


def test_a_file_that_is_broken_while_its_run_goes_on_leaves_the_run_alone(world, folder):
    world.code = None
    world.at("11:00")
    (folder / "p.toml").write_text("schedule = 3")
    world.at("11:10")
    assert world.children[0].stops == []
    world.children[0].code = 0
    world.at("11:20")
    assert world.texts("exit") == ["p: its run left with exit code 0"]


def test_a_run_that_goes_on_while_its_file_changes_is_still_the_only_one(world, folder):
    world.code = None
    world.at("11:00")
    write(folder, HOURLY.replace("rank = 3", "rank = 2"))
    assert world.at("12:00") == []
    world.children[0].code = 0
    assert world.at("12:01") == ["p 29 12:00"]


def test_a_pipeline_that_appears_as_another_of_the_same_name_is_not_served(world, folder):
    write(folder, 'name = "p"\nstate = "elsewhere"\n' + HOURLY, name="q.toml")
    assert world.at("11:00") == ["p 29 11:00"]
    (said,) = world.texts("fault")
    assert said.endswith(f"{folder}/q.toml and {folder}/p.toml both describe a pipeline of the name 'p'. Write another name = '...' into one of them.")  # fmt: skip
    assert world.at("12:00") == ["p 29 12:00"]
    assert len(world.texts("fault")) == 1


def test_a_run_that_cannot_be_started_is_reported_and_the_next_time_tried(world, monkeypatch):
    def refuse(offer: Offer, claim: int) -> FakeChild:
        raise OSError(11, "Resource temporarily unavailable")

    start = world.server._start
    world.server._start = refuse
    assert world.at("11:00") == []
    assert world.texts("fault") == [
        "p: 2026-11-29T11:00:00Z could not be started: Resource temporarily unavailable"
    ]
    world.server._start = start
    assert world.at("12:00") == ["p 29 12:00"]


def test_claims_that_cannot_be_read_are_reported_and_tried_again(world, folder):
    world.at("11:00")
    entry = sorted((folder / "p.runs" / "claims").glob("*.json"))[-1]
    words = entry.read_bytes()
    entry.write_bytes(b"{")
    assert world.at("12:00") == []
    assert "is no claim" in world.texts("fault")[0]
    assert len(world.texts("fault")) == 1
    entry.write_bytes(words)
    assert world.at("12:01") == ["p 29 12:00"]


def test_claims_in_a_store_that_cannot_be_opened_stop_no_other(world, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    write(folder, 'claims = "s3://127.0.0.1/x"\n' + HOURLY, name="q.toml")
    assert world.at("11:00") == ["p 29 11:00"]
    assert world.at("12:00") == ["p 29 12:00"]
    (said,) = world.texts("fault")
    assert "q.toml is not served: s3://127.0.0.1/x is an object store, which needs obstore" in said


def test_a_reader_of_the_log_that_went_away_ends_no_server(world):
    def gone(entry: JournalEntry) -> None:
        raise BrokenPipeError

    world.server._journal = gone
    world.code = None
    assert world.at("11:00") == ["p 29 11:00"]
    world.children[0].code = 0
    assert world.at("12:00") == ["p 29 12:00"]
    world.children[1].code = 130
    world.server.stop(lambda seconds: True)
    assert world.children[1].stops == ["stop"]


def test_a_stop_is_handed_on_and_waited_for(world):
    world.code = None
    world.at("11:00")
    (child,) = world.children
    looks = []

    def patience(seconds: float) -> bool:
        looks.append(seconds)
        if len(looks) == 3:
            child.code = 130
        return True

    world.server.stop(patience)
    assert child.stops == ["stop"]
    assert len(looks) == 3
    assert world.texts("exit") == ["p: its run left with exit code 130"]


def test_a_run_that_was_stopped_with_its_server_is_gone_on_with_by_the_next(world, folder):
    world.code = None
    assert world.at("11:00") == ["p 29 11:00"]
    world.children[0].code = 130
    claims = claims_of(world.server._duties[folder / "p.toml"].offer.pipeline)
    claims.leave(2)
    claims.end(2, "interrupted")
    world.server.stop(lambda seconds: True)
    later = World(folder)
    assert later.at("11:20") == ["p 29 11:00"]
    assert later.at("11:21") == []
    assert World(folder).at("11:22") == []


def test_a_stop_that_is_asked_for_again_kills(world):
    world.code = None
    world.at("11:00")
    world.server.stop(lambda seconds: False)
    assert world.children[0].stops == ["stop", "kill"]
    assert world.texts("exit") == ["p: its run was killed by signal 9"]


def test_claims_may_be_kept_apart_from_the_state(folder):
    write(folder, 'claims = "shared"\n' + HOURLY)
    world = World(folder)
    world.at("10:31")
    assert world.at("11:00") == ["p 29 11:00"]
    assert (folder / "shared" / "p" / "000002.end").exists()
    assert not (folder / "p.runs" / "claims").exists()


def test_what_is_seen_of_a_pipeline(world):
    world.code = None
    world.at("11:00")
    (state,) = world.server.states()
    assert (state.pipeline.name, state.is_running) == ("p", True)
    assert state.following == datetime(2026, 11, 29, 12, tzinfo=UTC)


def test_a_folder_that_cannot_be_served_is_refused_in_words(folder, tmp_path):
    with pytest.raises(StoreError, match=r"none does not exist. Pass a folder of pipelines"):
        FolderOffers(tmp_path / "none")
    write(folder, SVD)
    with pytest.raises(
        StoreError, match=r"has no file \*.toml with a schedule. Write schedule = '0 3 \* \* \*'"
    ):
        FolderOffers(folder)
    with pytest.raises(StoreError, match=r"p.toml is no folder.*streamsvd run .*p.toml --cron"):
        FolderOffers(folder / "p.toml")
    with pytest.raises(SpecError, match=r"p.toml has no schedule"):
        FileOffer(folder / "p.toml", ())
    (folder / "p.toml").write_text(HOURLY.replace("rank", "rnk"))
    with pytest.raises(
        DescriptionError, match=r"no file of .* can be served: .*unknown field 'rnk'"
    ):
        FolderOffers(folder)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            'name = "p"\nstate = "q"\n',
            r"q.toml and .*p.toml both describe a pipeline of the name 'p'",
        ),
        ('state = "p.runs"\n', r"q.toml and .*p.toml both keep their runs in .*p.runs"),
        ('state = "../my data/p.runs"\n', r"both keep their runs in "),
    ],
)
def test_two_files_of_one_pipeline_are_refused_in_words(folder, more, words):
    write(folder, HOURLY)
    write(folder, more + HOURLY, name="q.toml")
    with pytest.raises(DescriptionError, match=words):
        FolderOffers(folder)


def test_one_file_that_breaks_goes_on_as_it_was(folder):
    write(folder, HOURLY)
    offer = FileOffer(folder / "p.toml", ())
    (folder / "p.toml").write_text("schedule = ")
    look = offer.look()
    assert "The last version that was right goes on." in look.faults[folder / "p.toml"]
    assert offer.look().faults == {}
    assert list(look.offers) == [folder / "p.toml"]
