"""Collections of matrices: which may share a basis, stored so, and read again one by one."""

from streamsvd.collections.appending import append
from streamsvd.collections.cluster import cluster
from streamsvd.collections.compressed import Compressed, open_compressed
from streamsvd.collections.compression import Compression, compress
from streamsvd.collections.decompression import decompress
from streamsvd.collections.inputs import input_factor
from streamsvd.collections.rates import Rate, Rates, rates
from streamsvd.collections.result import Clustering, ClusteringInfo, SharedBasis

__all__ = [
    "Clustering",
    "ClusteringInfo",
    "Compressed",
    "Compression",
    "Rate",
    "Rates",
    "SharedBasis",
    "append",
    "cluster",
    "compress",
    "decompress",
    "input_factor",
    "open_compressed",
    "rates",
]
