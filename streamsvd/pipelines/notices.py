"""Who is told how a run ended: commands, with the record as their input, and addresses, to which it is posted; each within a limit of time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path

import msgspec

from streamsvd.pipelines.description import Pipeline
from streamsvd.pipelines.notice_fields import NoticeDescription
from streamsvd.pipelines.records import PipelineRecord
from streamsvd.pipelines.webhooks import host_of, post

STDERR = 2
"""Its file: what a command prints is none of the results, which go to stdout."""


def send_notices(pipeline: Pipeline, record: PipelineRecord) -> None:
    """Tell all that are to be told; what fails there changes nothing of the run, and is a warning."""
    body = msgspec.json.encode(record)
    for notice in pipeline.notices:
        if not _is_wanted(notice, record):
            continue
        if notice.url is not None:
            name = f"to {host_of(notice.url)}"
            fault = post(notice.url, body, seconds=notice.seconds, retries=notice.retries)
            _warn(name, fault)
            continue
        environment = os.environ | {
            "STREAMSVD_PIPELINE": pipeline.name,
            "STREAMSVD_STATUS": record.status,
            "STREAMSVD_RUN": str(record.number),
        }
        _warn(notice.command[0], _tell(notice, body, environment, pipeline.path.parent))


def _warn(name: str, fault: str) -> None:
    """Say what went wrong, if anything did."""
    if fault:
        warnings.warn(f"the notice {name} {fault}. The run is as it was recorded.", stacklevel=3)


def _tell(
    notice: NoticeDescription, record: bytes, environment: Mapping[str, str], folder: Path
) -> str:
    """Run one command to its end, or to its limit; what went wrong, in the words after its name.

    At its limit it is ended with all that it has started. What it prints goes to stderr.
    """
    try:
        process = subprocess.Popen(
            notice.command, stdin=subprocess.PIPE, stdout=STDERR, env=environment, cwd=folder, start_new_session=True
        )  # fmt: skip
    except OSError as error:
        return f"could not be started: {error.strerror or error}"
    with process:
        try:
            process.communicate(record, timeout=notice.seconds)
        except BaseException as stop:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(stop, subprocess.TimeoutExpired):
                raise
            return f"did not end within {notice.seconds:g} seconds, and was ended"
    return f"ended with code {process.returncode}" if process.returncode else ""


def _is_wanted(notice: NoticeDescription, record: PipelineRecord) -> bool:
    if notice.when == "always":
        return True
    failed = record.status not in ("done", "unchanged")
    return failed or (notice.when == "change" and record.status == "done")
