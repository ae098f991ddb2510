"""What a stream hands back."""

from __future__ import annotations

from dataclasses import dataclass

from streamsvd.engine.runs import Info
from streamsvd.streams.mathematics import (
    OrderFinding,
    StreamAnswer,
    StreamCertificate,
    StreamOptions,
    state_bytes,
)
from streamsvd.typing import Matrix, Real

CLOSE_RATIO = 1.1
"""Below this ratio of neighbouring eigenvalues the vectors are hardly determined."""


@dataclass(frozen=True, slots=True)
class StreamInfo(Info):
    """How a result came about.

    Attributes
    ----------
    n_rows, passes, bytes_read, elapsed_s, peak_bytes, projected_bytes, seed, warnings
        As of every verb of rows. Bytes read are those of the blocks where such came; `TopEigenvectors` measures no peak and
        says 0.
    energy
        Sum of the squared norms of the rows, ``||A||_F**2``.
    state_bytes, bound_bytes
        What the stream remembered at its end, and what it may at most, however long it is.
    shuffled_chunks
        Runs of rows that were mixed with one another; 0 where rows were taken in their order.
    heavy_rows
        Rows of large norm that were kept as they are.
    """

    energy: float
    state_bytes: int
    bound_bytes: int
    shuffled_chunks: int
    heavy_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class TopEigenvectorsResult:
    """Leading eigenvectors of ``A* A`` from a stream of the rows of A.

    Attributes
    ----------
    components
        Orthonormal, ``(k, n)``; the largest entry of each is positive.
    values
        Eigenvalues of ``A* A`` that go with them, squares of singular values of A, ``(k,)``, descending: estimates
        within the certified intervals.
    order
        What the test of the order found: ``p_value``, ``design_effect``, ``statistic``, ``random``.
    method
        ``"power"``, ``"directions"``, ``"growth"``, or ``"refined"`` after a further pass.
    certificate
        What is proved, and on what it rests.
    info
        How it came about.
    """

    components: Matrix
    values: Real
    order: OrderFinding
    method: str
    certificate: StreamCertificate
    info: StreamInfo


def cautions(
    found: StreamAnswer, options: StreamOptions, announced: int | None, few_chunks: int | None
) -> tuple[str, ...]:
    """What a careful user should know."""
    said = []
    order = found.order
    if order.random is False and found.method != "refined":
        said.append(order_caution(found))
    if found.overflow:
        said.append(
            f"more than heavy_rows={options.heavy_rows} rows of large norm came; about {found.wanted_heavy} would have "
            "had to be kept. Pass a larger heavy_rows, or check the rows for outliers."
        )
    if announced is not None and found.n_rows < announced:
        said.append(
            f"{found.n_rows:,} rows came of {announced:,} announced: too few were left to judge the answer by."
        )
    if few_chunks is not None:
        said.append(
            f"the matrix has {few_chunks} chunks of rows; from 256 on, mixing them makes the order nearly random."
        )
    values = found.minorant.values
    k = found.values.size
    if values.size > k and values[k] > 0 and found.values[-1] < CLOSE_RATIO * values[k]:
        said.append(
            f"eigenvalues {k} and {k + 1} may differ by less than {CLOSE_RATIO - 1:.0%}: the last vectors are hardly determined."
        )
    return tuple(said)


def order_caution(found: StreamAnswer) -> str:
    """That rows are not in random order, and what to do."""
    o = found.order
    return (
        f"rows do not come in random order: {o.statistic} varies {o.design_effect:.3g} times as much between parts of the "
        f"stream as chance lets it (p = {o.p_value:.1e}). Statistical claims are withheld. Shuffle the rows first "
        '(streamsvd.shuffle), or pass order="arbitrary".'
    )


def result_of(
    found: StreamAnswer,
    options: StreamOptions,
    *,
    passes: int,
    bytes_read: int,
    held: int,
    peak: int,
    projected: int,
    elapsed: float,
    shuffled: int,
    warnings: tuple[str, ...],
) -> TopEigenvectorsResult:
    """The result of a stream, with how it came about."""
    info = StreamInfo(
        n_rows=found.n_rows,
        energy=found.energy,
        passes=passes,
        bytes_read=bytes_read,
        state_bytes=held,
        bound_bytes=state_bytes(options, found.components.shape[1]),
        peak_bytes=peak,
        projected_bytes=projected,
        elapsed_s=elapsed,
        shuffled_chunks=shuffled,
        heavy_rows=found.heavy_rows,
        seed=options.seed,
        warnings=warnings,
    )
    return TopEigenvectorsResult(
        found.components, found.values, found.order, found.method, found.certificate, info
    )
