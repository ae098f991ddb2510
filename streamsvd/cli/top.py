"""``streamsvd top``: leading eigenvectors from one pass, of a stored matrix or of blocks on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from streamsvd.cli import options
from streamsvd.cli.app import report_checkpoint
from streamsvd.streams.options import TopEigenvectorsOptions

if TYPE_CHECKING:
    import numpy as np

    from streamsvd.streams.result import TopEigenvectorsResult


@click.command("top", short_help="Leading eigenvectors from one pass, in bounded space.")
@options.source
@options.record(TopEigenvectorsOptions, "k", "order", "passes", "width", "heavy_rows", "n_rows")
@options.mask
@options.missing_values
@options.checkpoint
@options.save_seconds
@options.result("components and values")
@options.record(TopEigenvectorsOptions, "seed", "delta")
@options.memory
@options.cluster
@options.as_json
@options.quiet
def command(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    out: Path | None,
    overwrite: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    n_rows: int | None,
    **given: Any,
) -> int:
    """Leading eigenvectors of A* A for the matrix SOURCE, or for .npy blocks on standard input if SOURCE is -.

    One pass, in memory that does not grow with the rows. What is proved, and on what it rests, is printed with them.
    """
    from streamsvd.cli.files import check_result_place, save_result
    from streamsvd.cli.progress import watching
    from streamsvd.cli.sources import fit_source, open_source
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.errors import SpecError
    from streamsvd.streams.verb import top_eigenvectors

    if source == "-":
        if scheduler is not None:
            raise SpecError(
                f"scheduler={scheduler!r} was passed with blocks on standard input, which only this process reads. Leave it "
                "out, or pass the path of a matrix."
            )
        given |= {"n_rows": n_rows}
        A: Any = read_frames()
    elif n_rows is not None:
        raise SpecError("n_rows belongs to standard input; the rows of a stored matrix are known.")
    else:
        A = open_source(source, variable, rows, missing)
    check_result_place(out, A, mask=given["mask"], overwrite=overwrite)
    reads = max(given["passes"], 1) + (given["nonfinite"] in ("mean", "drop_columns"))
    n_bytes = 0 if source == "-" else A.nbytes * reads
    try:
        with (
            use_scheduler(scheduler, workers),
            watching(n_bytes, quiet=quiet or source == "-") as watch,
        ):
            result = top_eigenvectors(
                fit_source(A, given["memory"], watch), callback=watch, **given
            )
    except KeyboardInterrupt as error:
        return report_checkpoint(error, given["checkpoint"], as_json=as_json)
    names = ("components", "values")
    save_result(
        out, result, lambda: {name: getattr(result, name) for name in names}, overwrite=overwrite
    )
    for sentence in result.info.warnings:
        click.echo(f"streamsvd: {sentence}", err=True)
    show(source, result, out, as_json=as_json)
    return 0


def read_frames() -> Iterator[np.ndarray[Any, Any]]:
    """The ``.npy`` arrays that follow one another on standard input."""
    import numpy as np

    from streamsvd.errors import SpecError

    if sys.stdin is None:
        raise SpecError("standard input is closed. Pipe .npy blocks into it, or pass a path.")
    stream = PipeReader(sys.stdin.buffer)
    number = 0
    while not stream.at_end():
        number += 1
        try:
            yield np.lib.format.read_array(stream, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise SpecError(
                f"block {number} on standard input is no .npy array: {error}. Write each as numpy.save does."
            ) from error


class PipeReader:
    """A stream that can only be read on: numpy asks for the position of what it takes for a file."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._next = stream, b""

    def at_end(self) -> bool:
        """Whether nothing follows."""
        self._next = self._next or self._stream.read(1)
        return not self._next

    def read(self, count: int = -1, /) -> bytes:
        """Bytes, fewer only at the end."""
        first, self._next = self._next[:count], self._next[count:]
        return first + self._stream.read(count - len(first))


def show(source: str, result: TopEigenvectorsResult, out: Path | None, *, as_json: bool) -> None:
    """The result on stdout."""
    from dataclasses import asdict

    from streamsvd.cli.present import (
        at_least,
        at_most,
        info_record,
        print_facts,
        round_digits,
        show_json,
        table_lines,
    )
    from streamsvd.engine.memory import show_bytes

    c, i, o = result.certificate, result.info, result.order
    if as_json:
        show_json(
            "top_eigenvectors",
            {
                "status": i.status.value,
                "values": result.values,
                "method": result.method,
                "order": asdict(o),
                "certificate": asdict(c),
                "energy": result.energy,
                "state_bytes": result.state_bytes,
                "bound_bytes": result.bound_bytes,
                "shuffled_chunks": result.shuffled_chunks,
                "heavy_rows": result.heavy_rows,
                "seed": i.seed,
                **info_record(i),
                "passes": result.options.passes,
                "options": asdict(result.options),
                "out": None if out is None else str(out),
            },
        )
        return
    click.echo(
        f"{source}: {i.n_rows:,} rows, {result.values.size} eigenvectors of A* A by {result.method}\n"
    )
    table = [
        [str(j + 1), round_digits(float(v), 7), at_least(float(a), 7), at_most(float(b), 7)]
        for j, (v, a, b) in enumerate(
            zip(result.values, c.values_lower, c.values_upper, strict=True)
        )
    ]
    click.echo(
        "\n".join(
            f"  {line}" for line in table_lines(["i", "eigenvalue", "at least", "at most"], table)
        )
    )
    click.echo()
    proof = f"sine of the largest angle to the true vectors <= {at_most(c.sine, 2)}, {c.evidence}"
    order = (
        "unknown: too few rows"
        if o.random is None
        else "as if random"
        if o.random
        else "not random"
    )
    print_facts(
        [
            ("angle", proof if c.evidence != "none" else "nothing is proved of the angle"),
            ("", f"{at_most(c.sine_estimate, 2)} by estimate" if c.sine_estimate < 1 else ""),
            (
                "energy",
                f"at least {at_least(100 * c.captured_lower, 4)} % is held, {c.captured_evidence}",
            ),
            (
                "chance",
                f"a statistical claim fails with probability at most {c.failure_probability:g}"
                if c.failure_probability
                else "nothing rests on chance",
            ),
            (
                "order",
                f"{order} (p = {o.p_value:.2g}, design effect {o.design_effect:.3g})"
                if o.random is not None
                else order,
            ),
            (
                "state",
                f"{show_bytes(result.state_bytes)}, at most {show_bytes(result.bound_bytes)} for any number of rows",
            ),
            ("passes", f"{i.passes:g}: {show_bytes(i.bytes_read)} in {i.elapsed_s:.3g} s"),
            ("written", "" if out is None else str(out)),
        ]
    )
