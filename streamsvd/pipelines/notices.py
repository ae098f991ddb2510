"""Who is told how a run ended: commands, with the record as their input and a limit of time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path

import msgspec

from streamsvd.pipelines.description import NoticeDescription, Pipeline
from streamsvd.pipelines.records import PipelineRecord

STDERR = 2
"""Its file: what a command prints is none of the results, which go to stdout."""


def send_notices(pipeline: Pipeline, record: PipelineRecord) -> None:
    """Run the commands that are to be told; what fails there changes nothing of the run, and is a warning."""
    for notice in pipeline.notices:
        if not _is_wanted(notice, record):
            continue
        environment = os.environ | {
            "STREAMSVD_PIPELINE": pipeline.name,
            "STREAMSVD_STATUS": record.status,
            "STREAMSVD_RUN": str(record.number),
        }
        try:
            _tell(notice, msgspec.json.encode(record), environment, pipeline.path.parent)
        except (OSError, subprocess.SubprocessError) as error:
            warnings.warn(
                f"the notice {notice.command[0]} failed: {error}. The run is as it was recorded.",
                stacklevel=2,
            )


def _tell(
    notice: NoticeDescription, record: bytes, environment: Mapping[str, str], folder: Path
) -> None:
    """Run one command to its end, or to its limit, with all that it has started; what it prints goes to stderr.

    Raises
    ------
    OSError, SubprocessError
        If it cannot be started, does not end, or ends with another code than 0.
    """
    with subprocess.Popen(
        notice.command, stdin=subprocess.PIPE, stdout=STDERR, env=environment, cwd=folder, start_new_session=True
    ) as process:  # fmt: skip
        try:
            process.communicate(record, timeout=notice.seconds)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, notice.command)


def _is_wanted(notice: NoticeDescription, record: PipelineRecord) -> bool:
    if notice.when == "always":
        return True
    failed = record.status not in ("done", "unchanged")
    return failed or (notice.when == "change" and record.status == "done")
