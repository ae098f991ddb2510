"""Leading eigenvectors of streams: stored matrices, and blocks that come once."""

from streamsvd.streams.result import StreamInfo, TopEigenvectorsResult
from streamsvd.streams.shuffle import shuffle
from streamsvd.streams.stream import TopEigenvectorStream
from streamsvd.streams.verb import top_eigenvectors

__all__ = [
    "StreamInfo",
    "TopEigenvectorsResult",
    "TopEigenvectorStream",
    "shuffle",
    "top_eigenvectors",
]
