"""P1: what do three steps of a pipeline read of one source, against the step that reads most, alone?

``python -m benchmarks.shared_read PATH STEP...`` runs a pipeline of these steps in this process, and prints one line of JSON: the
bytes that the process read of files, and its seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks import data
from benchmarks.fresh import Figures, fresh, interleaved
from benchmarks.ours import asked_bytes
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.pipelines.description import read_pipeline
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.records import PipelineRecord

MOST = 1.15
"""Bytes of three steps, relative to those of the one that reads most."""
EXTENTS: dict[Size, tuple[int, int]] = {"small": (8_000, 300), "full": (50_000, 2_000)}
STEPS = {
    "components": 'pca = {source = "rows", rank = 20, tol = 1e-3, memory = "300MiB"}',
    "model": 'update = {source = "rows", model = "rows.model", rank = 20, memory = "300MiB"}',
    "top": 'top_eigenvectors = {source = "rows", k = 5, memory = "300MiB"}',
}
MEMORY = "1400MiB"


def text(path: Path, steps: list[str], *, is_shared: bool) -> str:
    """The pipeline."""
    head = f"""memory = "{MEMORY}"\n[sources.rows]\npath = "{path}"\nshare = {str(is_shared).lower()}\n"""
    return head + "".join(f'\n[[steps]]\nname = "{name}"\n{STEPS[name]}\n' for name in steps)


def run(path: Path, steps: list[str], *, is_shared: bool) -> PipelineRecord:
    """One run, from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "steps.toml"
        file.write_text(text(path, steps, is_shared=is_shared), encoding="utf-8")
        return run_pipeline(read_pipeline(file))


def import_what_is_needed(steps: list[str]) -> None:
    """Run the steps on a small matrix: modules are files too."""
    with tempfile.TemporaryDirectory() as folder:
        small = data.make(Path(folder) / "small.zarr", "pow1", 400, 60, codec="zstd", exact=False)
        run(small, steps, is_shared=False)


def measure(path: Path, steps: list[str], *, is_shared: bool) -> Figures:
    """Bytes read of files, and seconds."""
    import_what_is_needed(steps)
    bytes_before, began = asked_bytes(), time.perf_counter()
    record = run(path, steps, is_shared=is_shared)
    return {
        "status": record.status,
        "bytes": asked_bytes() - bytes_before,
        "seconds": time.perf_counter() - began,
        "shared": len(record.reads),
        "peak": max((r.peak_bytes for r in record.reads), default=0),
        "projected": max((r.projected_bytes for r in record.reads), default=0),
    }


def table(size: Size = "full", rounds: int = 3) -> Table:
    """Bytes and seconds of medians of fresh processes, in turns."""
    path = data.make(None, "pow1", *EXTENTS[size], codec="zstd", exact=False)
    names = list(STEPS)
    module = "benchmarks.shared_read"
    fresh(module, path, *names)  # the page cache is warm
    commands = {name: (module, path, name) for name in names}
    runs = interleaved({**commands, "apart": (module, path, *names, "--apart"), "together": (module, path, *names)}, rounds)  # fmt: skip
    together, apart, most = runs["together"], runs["apart"], max(runs[n]["bytes"] for n in names)
    ratio = together["bytes"] / most
    alone = ", ".join(f"{name} {runs[name]['bytes'] / 1e6:.0f} MB" for name in names)
    rows = [
        Row(
            "bytes of files, three steps on one source",
            f"<= {MOST:g} of the step that reads most, alone",
            f"{ratio:.3f}: {together['bytes'] / 1e6:.0f} MB; {alone}; one after another {apart['bytes'] / 1e6:.0f} MB",
            judged(ratio <= MOST and together["shared"] == 1, size=size),
        ),
        Row(
            "seconds, the same",
            "no slower than one after another, within 10%",
            f"{together['seconds']:.2f} s; one after another {apart['seconds']:.2f} s",
            judged(together["seconds"] <= 1.1 * apart["seconds"], size=size),
        ),
        Row(
            "memory of all together",
            "measured <= projected",
            f"{together['peak'] / 2**20:.0f} MiB <= {together['projected'] / 2**20:.0f} MiB",
            judged(together["peak"] <= together["projected"]),
        ),
    ]
    return Table("P1", "steps that share a read", rows, (), runs)


def main(arguments: list[str] | None = None) -> None:
    """Run a pipeline of some steps."""
    parser = argparse.ArgumentParser("python -m benchmarks.shared_read", description=main.__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("steps", nargs="+", choices=list(STEPS))
    parser.add_argument("--apart", action="store_true", help="one step after another")
    found = parser.parse_args(arguments)
    print(json.dumps(measure(found.path, found.steps, is_shared=not found.apart)))


if __name__ == "__main__":
    main()
