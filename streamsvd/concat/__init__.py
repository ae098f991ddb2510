"""Which blocks with a common side may share a basis, and how large the error then is at least and at most."""

from streamsvd.concat.certifying import certify
from streamsvd.concat.cluster import Bracket, State, certified, join, singles
from streamsvd.concat.clustering import clustered
from streamsvd.concat.coarser import coarser
from streamsvd.concat.factors import Cluster, compression_ratio, left_factor
from streamsvd.concat.merges import Merge, numbered
from streamsvd.concat.options import ClusterOptions, Method, Mode
from streamsvd.concat.published import estimate
from streamsvd.concat.sketches import (
    Sketch,
    from_gram,
    gram,
    projection,
    proposed,
    sketch,
)
from streamsvd.concat.weights import PLAIN, Metric

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
