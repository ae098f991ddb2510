"""What a stream hands back."""

from __future__ import annotations

from dataclasses import dataclass

from streamsvd.info import Info
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.store.results.saving import LabelledResult
from streamsvd.streams.mathematics import (
    OrderFinding,
    StreamAnswer,
    StreamCertificate,
    state_bytes,
)
from streamsvd.streams.options import StreamOptions, TopEigenvectorsOptions
from streamsvd.typing import Matrix, Real

CLOSE_RATIO = 1.1
"""Below this ratio of neighbouring eigenvalues the vectors are hardly determined."""


@dataclass(frozen=True, slots=True, eq=False)
class TopEigenvectorsResult(LabelledResult):
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
    energy
        Sum of the squared norms of the rows, ``||A||_F**2``.
    heavy_rows
        Rows of large norm that were kept as they are.
    shuffled_chunks
        Runs of rows that were mixed with one another; 0 where rows were taken in their order.
    state_bytes, bound_bytes
        What the stream remembered at its end, and what it may at most, however long it is.
    options, info
        What was asked, and how it came about. Bytes read are those of the blocks where such came; `TopEigenvectorStream`
        measures no peak and says 0.
    labels
        What the matrix says of its columns: dimensions, coordinates, names, units.
    """

    components: Matrix
    values: Real
    order: OrderFinding
    method: str
    certificate: StreamCertificate
    energy: float
    heavy_rows: int
    shuffled_chunks: int
    state_bytes: int
    bound_bytes: int
    options: TopEigenvectorsOptions
    info: Info
    labels: Labels = NO_LABELS

    def __repr__(self) -> str:
        values = ", ".join(f"{value:.6g}" for value in self.values[:4])
        more = ", ..." if self.values.size > 4 else ""
        return f"<TopEigenvectorsResult: values {values}{more} by {self.method}, {self.info.cost}>"


def cautions(
    found: StreamAnswer, options: StreamOptions, announced: int | None, few_chunks: int | None
) -> tuple[str, ...]:
    """What a careful user should know."""
    said = []
    order = found.order
    if order.random is False and found.method != "refined":
        said.append(order_caution(order))
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


def order_caution(o: OrderFinding) -> str:
    """That rows are not in random order, and what to do."""
    return (
        f"rows do not come in random order: {o.statistic} varies {o.design_effect:.3g} times as much between parts of the "
        f"stream as chance lets it (p = {o.p_value:.1e}). Statistical claims are withheld. Shuffle the rows first "
        '(streamsvd.shuffle), or pass order="arbitrary".'
    )


def result_of(
    found: StreamAnswer,
    options: TopEigenvectorsOptions,
    fitted_options: StreamOptions,
    *,
    kept_bytes: int,
    shuffled: int,
    info: Info,
) -> TopEigenvectorsResult:
    """The result of a stream.

    Parameters
    ----------
    found
        Its answer.
    options, fitted_options
        What was asked of the verb, and what the stream had of it within its memory.
    kept_bytes
        What it remembered at its end.
    shuffled
        Runs of rows that were mixed.
    info
        How it came about.
    """
    return TopEigenvectorsResult(
        components=found.components,
        values=found.values,
        order=found.order,
        method=found.method,
        certificate=found.certificate,
        energy=found.energy,
        heavy_rows=found.heavy_rows,
        shuffled_chunks=shuffled,
        state_bytes=kept_bytes,
        bound_bytes=state_bytes(fitted_options, found.components.shape[1]),
        options=options,
        info=info,
    )
