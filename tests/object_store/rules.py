"""What a flaky proxy does to a request instead of passing it on, and to which requests."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["answer", "reset", "cut", "lose", "hang"]


@dataclass(frozen=True)
class Request:
    """One request as it came in.

    Attributes
    ----------
    verb
        Such as ``"GET"``.
    path
        Below the address of the server, percents undone: for a store of objects ``/bucket/key``.
    query
        What follows the question mark.
    headers
        By their names in small letters.
    body
        All of it.
    target
        Path and query as they were sent.
    """

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    target: str


@dataclass
class Rule:
    """What happens to requests that match.

    Attributes
    ----------
    action
        ``"answer"`` with a status; ``"reset"`` the connection; ``"cut"`` the body short and close; ``"lose"`` the reply after the
        request has succeeded; ``"hang"`` until the client gives up.
    verb
        Of the requests; empty for all.
    key
        A regular expression that is searched in the path; empty for all.
    times
        How often it happens at most; None for ever.
    every
        Of the requests that match, one in so many, beginning with the first.
    each
        Counts ``times`` for each verb, path and range by themselves: ``times=1, each=True`` is once each.
    status
        Of an answer.
    after
        Bytes of the body that are sent first.
    applied
        How often it happened.
    happened
        Is set when it happens first, for tests that wait for it.
    """

    action: Action
    verb: str = ""
    key: str = ""
    times: int | None = None
    every: int = 1
    each: bool = False
    status: int = 503
    after: int = 0
    applied: int = 0
    happened: threading.Event = field(default_factory=threading.Event)
    _matched: int = 0
    _applied_to: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def takes(self, request: Request) -> bool:
        """Whether it happens to a request, which is then counted."""
        if self.verb not in ("", request.verb) or not re.search(self.key, request.path):
            return False
        self._matched += 1
        if (self._matched - 1) % self.every:
            return False
        which = (request.verb, request.path, request.headers.get("range", ""))
        done = self._applied_to.get(which, 0) if self.each else self.applied
        if self.times is not None and done >= self.times:
            return False
        self._applied_to[which] = self._applied_to.get(which, 0) + 1
        self.applied += 1
        self.happened.set()
        return True
