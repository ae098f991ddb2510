"""Collections of matrices: which may share a basis, stored so, and read again one by one."""

from streamsvd.collections.appending import append
from streamsvd.collections.cluster import cluster
from streamsvd.collections.compressed import CompressedCollection, open_compressed
from streamsvd.collections.compression import CompressionReport, compress
from streamsvd.collections.decompression import decompress
from streamsvd.collections.inputs import second_moment_factor
from streamsvd.collections.rates import RateCurve, RatePoint, rate_curve
from streamsvd.collections.result import Cluster, ClusteringInfo, ClusterResult

__all__ = [
    "ClusterResult",
    "ClusteringInfo",
    "CompressedCollection",
    "CompressionReport",
    "RatePoint",
    "RateCurve",
    "Cluster",
    "append",
    "cluster",
    "compress",
    "decompress",
    "second_moment_factor",
    "open_compressed",
    "rate_curve",
]
