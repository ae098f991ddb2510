"""Leading eigenvectors of ``A* A`` from one pass over the rows, in space that does not grow with them."""

from streamsvd.streams.mathematics.claims import StreamCertificate
from streamsvd.streams.mathematics.directions import FrequentDirections
from streamsvd.streams.mathematics.order import OrderFinding
from streamsvd.streams.mathematics.refine import ProductSums, Refinement
from streamsvd.streams.mathematics.space import fit_options, state_bytes, work_bytes
from streamsvd.streams.mathematics.top import StreamState
from streamsvd.streams.mathematics.verdict import StreamAnswer

__all__ = [
    "StreamAnswer",
    "FrequentDirections",
    "OrderFinding",
    "ProductSums",
    "Refinement",
    "StreamCertificate",
    "StreamState",
    "state_bytes",
    "fit_options",
    "work_bytes",
]
