"""Leading eigenvectors of ``A* A`` from one pass over the rows, in space that does not grow with them."""

from streamsvd.streams.mathematics.claims import StreamCertificate
from streamsvd.streams.mathematics.directions import FrequentDirections
from streamsvd.streams.mathematics.options import StreamOptions, state_bytes, within, work_bytes
from streamsvd.streams.mathematics.order import Order
from streamsvd.streams.mathematics.refine import Refinement
from streamsvd.streams.mathematics.top import TopRows
from streamsvd.streams.mathematics.verdict import Found

__all__ = [
    "Found",
    "FrequentDirections",
    "Order",
    "Refinement",
    "StreamCertificate",
    "StreamOptions",
    "TopRows",
    "state_bytes",
    "within",
    "work_bytes",
]
