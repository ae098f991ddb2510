"""Leading eigenvectors of streams: stored matrices, and blocks that come once."""

from streamsvd.drivers.stream.face import TopEigenvectors
from streamsvd.drivers.stream.result import StreamInfo, StreamResult
from streamsvd.drivers.stream.shuffle import shuffle
from streamsvd.drivers.stream.top import top_eigenvectors

__all__ = ["StreamInfo", "StreamResult", "TopEigenvectors", "shuffle", "top_eigenvectors"]
