"""Leading eigenvectors of streams: stored matrices, and blocks that come once."""

from streamsvd.streams.result import StreamInfo, StreamResult
from streamsvd.streams.shuffle import shuffle
from streamsvd.streams.stream import TopEigenvectors
from streamsvd.streams.verb import top_eigenvectors

__all__ = ["StreamInfo", "StreamResult", "TopEigenvectors", "shuffle", "top_eigenvectors"]
