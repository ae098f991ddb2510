"""Who is told how a run ended: commands, with the record as their input and a limit of time."""

from __future__ import annotations

import os
import subprocess
import warnings

import msgspec

from streamsvd.pipelines.description import NoticeDescription, Pipeline
from streamsvd.pipelines.records import RunRecord


def send_notices(pipeline: Pipeline, record: RunRecord) -> None:
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
            subprocess.run(
                notice.command, input=msgspec.json.encode(record), timeout=notice.seconds, check=True, env=environment,
                cwd=pipeline.path.parent,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            warnings.warn(
                f"the notice {notice.command[0]} failed: {error}. The run is as it was recorded.",
                stacklevel=2,
            )


def _is_wanted(notice: NoticeDescription, record: RunRecord) -> bool:
    if notice.when == "always":
        return True
    failed = record.status not in ("done", "unchanged")
    return failed or (notice.when == "change" and record.status == "done")
