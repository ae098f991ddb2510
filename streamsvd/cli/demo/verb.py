"""The verb: what is shown, in which order, and that nothing large is left behind."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsvd.cli import options

if TYPE_CHECKING:
    from streamsvd.factor.plan import Plan

MARK = "streamsvd-demo.json"
Say = Callable[[str], None]


def _parse_size(ctx: Any, param: Any, value: str) -> int:
    from streamsvd.engine.memory import parse_bytes
    from streamsvd.errors import SpecError

    del ctx, param
    try:
        return parse_bytes(value)
    except SpecError:
        raise click.BadParameter(
            f"{value!r} is no size. Pass bytes, or a text such as 2GB."
        ) from None


@click.command("demo", short_help="The main job on real data, then at size.")
@click.option(
    "--out",
    type=options.Place(file_okay=False),
    default=Path("streamsvd-demo"),
    show_default=True,
    help="Folder for figures and results.",
)
@click.option(
    "--size",
    callback=_parse_size,
    metavar="BYTES",
    default="2GB",
    show_default=True,
    help="Of the matrix of known spectrum.",
)
@click.option("--keep", is_flag=True, help="Keep that matrix; it is removed otherwise.")
@options.as_json
@options.quiet
def command(out: Path, size: int, keep: bool, as_json: bool, quiet: bool) -> None:
    """The main job on real climate data, then on 2 GB in 256 MiB, against the truth; under 3 minutes."""
    from streamsvd.cli.present import show_json

    began = time.perf_counter()

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=as_json)

    _require_extra()
    _prepare(out)
    climate = _run_climate(out, say)
    known = _run_known_matrix(out, size, keep=keep, quiet=quiet, say=say)
    record = {
        "status": "done",
        "out": str(out),
        "climate": climate,
        "known": known,
        "elapsed_s": time.perf_counter() - began,
    }
    (out / MARK).write_text(json.dumps({"elapsed_s": record["elapsed_s"]}), encoding="utf-8")
    say(f"\nDone in {record['elapsed_s']:.0f} s. Figures and results are in {out}.")
    if as_json:
        show_json("demo", record)


def _require_extra() -> None:
    """Refuse at once where what the demo shows, or draws with, is not installed."""
    from streamsvd.errors import StreamSVDError

    lacking = [
        name for name in ("iris_sample_data", "h5py", "matplotlib") if find_spec(name) is None
    ]
    if lacking:
        raise StreamSVDError(
            f"the demo needs {', '.join(lacking)}, which come with its extra. "
            "Install them with: pip install 'streamsvd[demo]'"
        )


def _prepare(out: Path) -> None:
    """A folder that is ours: new, empty, or of an earlier demo."""
    from streamsvd.errors import StoreError
    from streamsvd.store.explanations import explain_errors
    from streamsvd.store.writing.placing import check_local

    check_local(out)
    with explain_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not (out / MARK).exists():
            raise StoreError(f"{out} holds something else. Choose another folder with --out.")
        (out / MARK).write_text("{}", encoding="utf-8")


def _run_climate(out: Path, say: Say) -> dict[str, Any]:
    """Part 1: real data."""
    from streamsvd.cli.demo import climate
    from streamsvd.cli.present import variance_rows
    from streamsvd.report.writing import write_report

    data = climate.load()
    years, *grid = data.values.shape
    say(f"1. {climate.TITLE}, {data.period}")
    say(f"   {data.origin}: {years} years on a grid of {grid[0]} x {grid[1]}\n")
    path, weights = climate.store(data, out)
    say(
        f"   $ streamsvd pca {path} --rows time --column-weights {weights} --rank {climate.RANK} "
        f"--tol {climate.TOL:g} --u --out {out / 'eofs.zarr'}\n"
    )
    result = climate.factorise(path, weights, out / "eofs.zarr", memory="256MiB")
    head, rows = variance_rows(result)
    _table(say, head, rows[: climate.N_MAPS])
    drawn = climate.draw(data, weights, result, out)
    say(f"\n   figures: {', '.join(str(path) for path in drawn)}")
    page = out / "report.html"
    say(f"\n   $ streamsvd report {out / 'eofs.zarr'} --grid {grid[0]},{grid[1]} --out {page}\n")
    written = write_report(out / "eofs.zarr", page, grid=grid, overwrite=True)
    say(f"   {written.verdict}\n")
    return {
        "report": str(page),
        "explained_variance_ratio": result.explained_variance_ratio,
        "relative_width": result.certificate.relative_width,
        "passes": result.info.passes,
        "figures": [str(path) for path in drawn],
    }


def _run_known_matrix(out: Path, size: int, *, keep: bool, quiet: bool, say: Say) -> dict[str, Any]:
    """Part 2: at size, against the truth."""
    from streamsvd.cli.demo import known_matrix as known
    from streamsvd.engine.memory import show_bytes
    from streamsvd.testing.writing import write_known

    A = known.make_matrix(size)
    path, result = out / "known.zarr", out / "known-svd.zarr"
    shutil.rmtree(path, ignore_errors=True)
    known.require_room(out, 2 * A.nbytes)
    say(
        f"2. {A.n_rows:,} x {A.n_cols:,} float32 of known spectrum (s_i = 1/i), {A.nbytes / 1e9:.3g} GB"
    )
    try:
        began = time.perf_counter()
        write_known(path, A, done=_WriteProgress(quiet))
        took = time.perf_counter() - began
        say(f"   written in {took:.1f} s, {A.nbytes / took / 1e9:.2f} GB/s\n")
        plan = _plan(path, known.MEMORY, say)
        command = " ".join(known.arguments(path, result))
        say(f"\n   $ streamsvd {command}\n")
        record = known.factorise(path, result, quiet=quiet)
        truth = known.compare(A, record)
        figure = known.draw(A, record, out / "certificate.png")
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)
    _report(say, plan, record, truth)
    say(f"\n   figure: {figure}")
    say(f"   {path} of {show_bytes(A.nbytes)} is {'kept' if keep else 'removed'}")
    return {
        "bytes": A.nbytes,
        "written_s": took,
        "planned": {
            "passes": plan.passes,
            "bytes_read": plan.bytes_read,
            "projected_bytes": plan.projected_bytes,
            "seconds": plan.seconds,
        },
        "result": record,
        "truth": truth,
        "figures": [str(figure)],
    }


def _plan(path: Path, memory: str, say: Say) -> Plan:
    from streamsvd.cli.demo import known_matrix as known
    from streamsvd.engine.opening import open as open_matrix
    from streamsvd.factor.calibration import measure_speeds
    from streamsvd.factor.svd import plan_svd

    A = open_matrix(path)
    asked: dict[str, Any] = {"rank": known.RANK, "tol": known.TOL, "memory": memory}
    plan = plan_svd(A, **asked, rates=measure_speeds(A, plan_svd(A, **asked)))
    say("   The plan, from the speed of this machine as measured now:\n")
    for line in plan.explain().splitlines():
        say(f"   {line}")
    return plan


def _report(say: Say, plan: Plan, record: dict[str, Any], truth: dict[str, Any]) -> None:
    from streamsvd.cli.present import memory_line

    s, count = record["singular_values"], len(record["singular_values"])
    picked = [i for i in (0, 1, 2, 4, 9, 19, 29, 39, 49) if i < count]
    head = ["i", "true value", "computed", "true error", "certified width"]
    rows = [
        [
            str(i + 1),
            f"{truth['truth'][i]:.7f}",
            f"{s[i]:.7f}",
            f"{truth['true_error'][i]:.1e}",
            f"{truth['certified_width'][i]:.1e}",
        ]
        for i in picked
    ]
    _table(say, head, rows)
    rate = record["bytes_read"] / record["elapsed_s"] / 1e9
    say("")
    say(
        f"   truth      in {truth['inside']} of {count} certified intervals; asked for a width of {plan.options.width_tol:g}"
    )
    say(f"   passes     {record['passes']:.3f} made, {plan.passes:.3f} planned")
    say(f"   time       {record['elapsed_s']:.1f} s, {plan.seconds:.1f} s planned; {rate:.2f} GB/s")
    memory = memory_line(record["peak_bytes"], record["projected_bytes"], record["budget_bytes"])
    say(f"   memory     {memory}")


def _table(say: Say, head: list[str], rows: list[list[str]]) -> None:
    from streamsvd.cli.present import table_lines

    for line in table_lines(head, rows):
        say(f"   {line}")


class _WriteProgress:
    """Says how much is written, at most once in five seconds."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._spoke = quiet, time.monotonic()

    def __call__(self, share: float) -> None:
        if not self._quiet and time.monotonic() - self._spoke > 5 and share < 1:
            self._spoke = time.monotonic()
            click.echo(f"streamsvd: {share:.0%} written", err=True)
