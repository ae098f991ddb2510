"""The page that a run writes at its end."""

from __future__ import annotations

import warnings

from streamsvd.pipelines.description import Pipeline
from streamsvd.pipelines.records import PipelineRecord


def write_run_report(pipeline: Pipeline, record: PipelineRecord) -> None:
    """Write the page that the file asks for, however a run ended; what fails there changes nothing of the run, and is a warning."""
    if pipeline.report is None:
        return
    try:
        from streamsvd.pipelines.run_page import (
            current_page,
        )  # templates and drawings, for who wants them
        from streamsvd.report.writing import replace_page

        replace_page(current_page(pipeline, record), pipeline.report)
    except Exception as error:
        warnings.warn(
            f"the report {pipeline.report} could not be written: {str(error).rstrip('.')}. The run is as it was recorded.",
            stacklevel=2,
        )
