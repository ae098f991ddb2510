"""Leading eigenvectors of ``A* A`` from one pass over the rows, in space that does not grow with them."""

from streamsvd.stream.claims import StreamCertificate
from streamsvd.stream.directions import FrequentDirections
from streamsvd.stream.options import StreamOptions, state_bytes, within, work_bytes
from streamsvd.stream.order import Order
from streamsvd.stream.refine import Refinement
from streamsvd.stream.top import TopRows
from streamsvd.stream.verdict import Found

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
