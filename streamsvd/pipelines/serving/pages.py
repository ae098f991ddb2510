"""The page that says how every pipeline is: plain, without a script, and with everything that comes from files or runs escaped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

from streamsvd.errors import StoreError
from streamsvd.pipelines.lock import lock_holder
from streamsvd.pipelines.records import PipelineRecord, RunLog
from streamsvd.pipelines.serving.duties import DutyState
from streamsvd.pipelines.serving.web import path_names, read_report

HEAD = ("pipeline", "status", "last run", "took", "next run", "report", "what was said")


def index_page(states: Iterable[DutyState], folder: Path) -> str:
    """The state of every pipeline, a row each."""
    rows = "\n".join(_row(state, folder) for state in states)
    head = "".join(f"<th>{escape(word)}</th>" for word in HEAD)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>streamsvd pipelines</title></head><body>\n'
        f'<h1>Pipelines</h1>\n<table border="1" cellpadding="4">\n<tr>{head}</tr>\n{rows}\n</table>\n</body></html>\n'
    )


def _row(state: DutyState, folder: Path) -> str:
    record, fault = _last(state)
    status = "no run yet" if record is None else record.status
    if state.is_running or (status == "killed" and lock_holder(state.pipeline.state)):
        status = "running"
    following = "never" if state.following is None else _time(state.following)
    cells = [
        escape(state.pipeline.name), escape(status), escape(record.started if record else ""), escape(_took(record)),
        escape(following), _report_link(state, folder), escape(state.trouble or fault or (record.error if record else "")),
    ]  # fmt: skip
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _last(state: DutyState) -> tuple[PipelineRecord | None, str]:
    """The newest record; or none, and why it cannot be read."""
    try:
        records = RunLog(state.pipeline.state).records(1)
    except (StoreError, OSError) as error:
        return None, str(error)
    return (records[0] if records else None), ""


def _took(record: PipelineRecord | None) -> str:
    if record is None or not record.ended:
        return ""
    took = datetime.fromisoformat(record.ended) - datetime.fromisoformat(record.started)
    return f"{took.total_seconds():.0f} s"


def _report_link(state: DutyState, folder: Path) -> str:
    """A link to the report of a pipeline, where it writes one that is served."""
    written = getattr(state.pipeline, "report", None)
    if written is None:
        return ""
    target = "/" + quote(os.path.relpath(state.pipeline.path.parent / written, folder))
    names = path_names(target)
    if not names or read_report(folder, names) is None:
        return ""
    return f'<a href="{escape(target)}">report</a>'


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
