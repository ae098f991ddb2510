"""Who is to be told is told with the record, within a limit, and nothing that goes wrong there changes the run."""

from __future__ import annotations

import json
import sys
import time

import pytest

from streamsvd.errors import StoreError
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.records import RunLog
from tests.pipelines.kit import SVD, StopError, Watch, run_text, write

KEEP = '[[notify]]\nwhen = "{}"\ncommand = ["sh", "-c", "cat > told.json"]\n'
WRONG = '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = 1e9\n'


def test_a_command_gets_the_record_and_knows_the_run(folder):
    words = "cat > told.json; echo $STREAMSVD_PIPELINE $STREAMSVD_STATUS $STREAMSVD_RUN > names; pwd >> names"
    text = (
        'name = "mine"\n'
        + SVD
        + f'[[notify]]\nwhen = "always"\ncommand = ["sh", "-c", "{words}"]\n'
    )
    record = run_text(folder, text)
    told = json.loads((folder / "told.json").read_text())
    assert told["pipeline"] == "mine"
    assert told["steps"][0]["place"] == record.steps[0].place
    assert (folder / "names").read_text().splitlines() == ["mine done 1", str(folder)]


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("always", ["done", "unchanged", "refused", "failed"]),
        ("change", ["done", "refused", "failed"]),
        ("failure", ["refused", "failed"]),
    ],
)
def test_who_is_told_when(folder, when, told):
    found = []
    text = SVD + KEEP.format(when)

    def heard(expected: str) -> None:
        if (folder / "told.json").exists():
            found.append(json.loads((folder / "told.json").read_text())["status"])
            assert found[-1] == expected
            (folder / "told.json").unlink()

    for status, more in (("done", ""), ("unchanged", ""), ("refused", WRONG)):
        assert run_text(folder, text + more).status == status
        heard(status)
    (folder / "A.npy").unlink()
    with pytest.raises(StoreError):
        run_text(folder, text)
    heard("failed")
    assert found == told


def test_an_error_of_the_callback_is_told_and_an_interrupt_is_not(folder):
    pipeline = write(folder, SVD + KEEP.format("always"))
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(pipeline, callback=Watch(1, KeyboardInterrupt))
    assert not (folder / "told.json").exists()
    with pytest.raises(StopError):
        run_pipeline(pipeline, callback=Watch(1))
    assert json.loads((folder / "told.json").read_text())["status"] == "failed"


def test_a_command_that_hangs_is_ended_with_all_it_started(folder):
    words = "sleep 600 & echo $! > child; echo $$ > parent; wait"
    text = SVD + f'[[notify]]\nwhen = "always"\nseconds = 0.5\ncommand = ["sh", "-c", "{words}"]\n'
    began = time.monotonic()
    with pytest.warns(
        UserWarning, match=r"the notice sh did not end within 0\.5 seconds, and was ended\. The run"
    ):
        record = run_text(folder, text)
    assert time.monotonic() - began < 60
    assert record.status == "done"
    for name in ("child", "parent"):
        stat = f"/proc/{int((folder / name).read_text())}/stat"
        deadline = time.monotonic() + 30
        while _is_alive(stat):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _is_alive(stat: str) -> bool:
    try:
        with open(stat) as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ('["false"]', "the notice false ended with code 1"),
        (
            '["/no/such/thing"]',
            "the notice /no/such/thing could not be started: No such file or directory",
        ),
    ],
)
def test_a_command_that_fails_changes_nothing(folder, command, said):
    text = SVD + f'[[notify]]\nwhen = "always"\ncommand = {command}\n' + KEEP.format("always")
    with pytest.warns(UserWarning, match=said + r"\. The run is as it was recorded\."):
        record = run_text(folder, text)
    assert record.status == "done"
    assert RunLog(folder / "p.runs").records() == [record]
    assert (folder / "told.json").exists()  # the next one is told


def test_a_command_that_does_not_read_is_no_failure(folder):
    record = run_text(folder, SVD + '[[notify]]\nwhen = "always"\ncommand = ["true"]\n')
    assert record.status == "done"


def test_what_a_command_prints_is_no_result(folder, capfd):
    run_text(folder, SVD + '[[notify]]\nwhen = "always"\ncommand = ["echo", "hello"]\n')
    out, err = capfd.readouterr()
    assert "hello" not in out
    assert "hello" in err


def test_a_command_may_run_the_pipeline_again(folder):
    python = f"import sys; sys.path[:0] = {sys.path!r}; from streamsvd.cli.app import main; main(['run', 'p.toml', '--quiet'])"
    (folder / "again.py").write_text(python)
    text = SVD + f'[[notify]]\nseconds = 60\ncommand = ["{sys.executable}", "again.py"]\n'
    refused = text + WRONG
    (folder / "q.toml").write_text(refused)
    from streamsvd.pipelines.description import read_pipeline

    write(folder, text)
    record = run_pipeline(read_pipeline(folder / "q.toml", ["state=p.runs"]))
    assert record.status == "refused"
    assert [r.status for r in RunLog(folder / "p.runs").records()] == ["refused", "unchanged"]
