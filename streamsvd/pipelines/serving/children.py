"""Runs as processes of their own: memory and threads of BLAS are theirs alone, and a stop is handed on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streamsvd.pipelines.serving.folder import Offer


class Child(Protocol):
    """A run that was started."""

    @property
    def pid(self) -> int:
        """Of its process."""
        ...

    def poll(self) -> int | None:
        """Its exit code; None while it goes on."""
        ...

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        ...

    def stop(self) -> None:
        """Ask it to stop."""
        ...

    def kill(self) -> None:
        """End it, and all that it started."""
        ...


class Starter(Protocol):
    """What starts runs."""

    def __call__(self, offer: Offer, claim: int) -> Child:
        """A run of a pipeline under a claim."""
        ...


@dataclass(frozen=True, slots=True)
class CommandChild:
    """A run as a process of the command line."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """See `Child.pid`."""
        return self.process.pid

    def poll(self) -> int | None:
        """See `Child.poll`."""
        return self.process.poll()

    def wait(self) -> int:
        """See `Child.wait`."""
        return self.process.wait()

    def stop(self) -> None:
        """See `Child.stop`."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """See `Child.kill`."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class CommandStarter:
    """Starts ``python -m streamsvd run``.

    Attributes
    ----------
    options
        Words behind the file.
    shows_output
        Whether what it prints on stdout goes to ours; else to nobody.
    """

    options: Sequence[str]
    shows_output: bool

    def __call__(self, offer: Offer, claim: int) -> CommandChild:
        """A process with a session of its own: a Ctrl-C at the terminal is handed on once, as a stop."""
        words = [sys.executable, "-m", "streamsvd", "run", str(offer.file), "--claim", str(claim)]
        for setting in offer.settings:
            words += ["--set", setting]
        process = subprocess.Popen(
            [*words, *self.options], stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=None if self.shows_output else subprocess.DEVNULL,
        )  # fmt: skip
        return CommandChild(process)
