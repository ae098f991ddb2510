"""Which blocks with a common side may share a basis, and how large the error then is at least and at most."""

from streamsvd.collections.criteria import ClusterCriteria, Method, Mode
from streamsvd.collections.mathematics.baselines import estimate
from streamsvd.collections.mathematics.certifying import certify
from streamsvd.collections.mathematics.cluster import (
    ClusterState,
    ErrorBracket,
    error_bracket,
    join,
    singles,
)
from streamsvd.collections.mathematics.clustering import cluster_sketches
from streamsvd.collections.mathematics.coarser import coarser
from streamsvd.collections.mathematics.dendrogram import MergeStep, number_merges
from streamsvd.collections.mathematics.factors import (
    FactoredCluster,
    compression_ratio,
    left_factor,
)
from streamsvd.collections.mathematics.sketches import (
    BlockSketch,
    from_gram,
    gram,
    projection,
    sketch,
    sketch_projection,
)
from streamsvd.collections.mathematics.weights import PLAIN, Metric

__all__ = [
    "PLAIN",
    "ErrorBracket",
    "FactoredCluster",
    "ClusterCriteria",
    "MergeStep",
    "Method",
    "Metric",
    "Mode",
    "BlockSketch",
    "ClusterState",
    "error_bracket",
    "certify",
    "cluster_sketches",
    "coarser",
    "compression_ratio",
    "estimate",
    "from_gram",
    "gram",
    "join",
    "left_factor",
    "number_merges",
    "projection",
    "sketch_projection",
    "singles",
    "sketch",
]
