"""Collections of matrices: which may share a basis, stored so, and read again one by one."""

from streamsvd.drivers.collection.appending import append
from streamsvd.drivers.collection.cluster import cluster
from streamsvd.drivers.collection.compression import Compression, compress
from streamsvd.drivers.collection.decompression import decompress
from streamsvd.drivers.collection.inputs import input_factor
from streamsvd.drivers.collection.opened import Compressed, open_compressed
from streamsvd.drivers.collection.rates import Rate, Rates, rates
from streamsvd.drivers.collection.result import Clustering, ClusteringInfo, SharedBasis

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
