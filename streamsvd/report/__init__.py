"""What a person looks at: `write_report` makes a page of anything that was saved or ran; `figures` are files for slides and papers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamsvd.report.writing import ReportWritten, make_page, write_report

__all__ = ["ReportWritten", "make_page", "write_report"]


def __getattr__(name: str) -> Any:
    """Names on demand: a figure needs no template, and a page no matplotlib."""
    if name in __all__:
        from streamsvd.report import writing

        return getattr(writing, name)
    raise AttributeError(f"module 'streamsvd.report' has no attribute {name!r}")
