"""Which blocks with a common side may share a basis, and how large the error then is at least and at most."""

from streamsvd.collections.mathematics.certifying import certify
from streamsvd.collections.mathematics.cluster import Bracket, State, certified, join, singles
from streamsvd.collections.mathematics.clustering import clustered
from streamsvd.collections.mathematics.coarser import coarser
from streamsvd.collections.mathematics.factors import Cluster, compression_ratio, left_factor
from streamsvd.collections.mathematics.merges import Merge, numbered
from streamsvd.collections.mathematics.options import ClusterOptions, Method, Mode
from streamsvd.collections.mathematics.published import estimate
from streamsvd.collections.mathematics.sketches import (
    Sketch,
    from_gram,
    gram,
    projection,
    proposed,
    sketch,
)
from streamsvd.collections.mathematics.weights import PLAIN, Metric

__all__ = [
    "PLAIN",
    "Bracket",
    "Cluster",
    "ClusterOptions",
    "Merge",
    "Method",
    "Metric",
    "Mode",
    "Sketch",
    "State",
    "certified",
    "certify",
    "clustered",
    "coarser",
    "compression_ratio",
    "estimate",
    "from_gram",
    "gram",
    "join",
    "left_factor",
    "numbered",
    "projection",
    "proposed",
    "singles",
    "sketch",
]
