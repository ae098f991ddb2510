"""Collections of matrices: which may share a basis, stored so, and read again one by one."""

from streamsvd.collections.appending import append
from streamsvd.collections.cluster import cluster, plan_cluster
from streamsvd.collections.compressed import CompressedCollection, open_compressed
from streamsvd.collections.compression import CompressionReport, compress, plan_compress
from streamsvd.collections.decompression import decompress
from streamsvd.collections.inputs import plan_second_moment_factor, second_moment_factor
from streamsvd.collections.rates import RateCurve, RatePoint, plan_rate_curve, rate_curve
from streamsvd.collections.result import Cluster, ClusterResult

__all__ = [
    "ClusterResult",
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
    "plan_cluster",
    "plan_compress",
    "plan_rate_curve",
    "plan_second_moment_factor",
    "rate_curve",
]
