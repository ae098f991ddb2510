"""The command ``streamsvd``: finds the verb, and turns whatever goes wrong into one sentence and an exit code.

0 done, 1 failed, 2 wrong usage, 3 not converged with the partial result kept, 130 interrupted. Nothing but
click is imported before a verb is known, so that ``--help`` is instant.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

import click

from streamsvd import __version__
from streamsvd.cli.commands import HEADINGS, verbs
from streamsvd.cli.wording import in_options
from streamsvd.errors import ShapeError, SpecError, StreamSVDError

FAILED, USAGE, NOT_CONVERGED, REFUSED, INTERRUPTED = 1, 2, 3, 4, 130
INTERRUPTED_SENTENCE = "interrupted; nothing was kept."
PIPELINE_SENTENCE = (
    "interrupted; what was published stays, and the same command goes on from what was made."
)
SIGNAL_GAP_S = 1.0
"""Seconds in which a second Ctrl-C is the same one, so that the clean-up can begin."""
FULL_SENTENCE = "standard output cannot be written: {}. Redirect it to a place that has room."
CLOSED_SENTENCE = (
    "standard output is closed, where results go. Redirect it to a file or to /dev/null."
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    stop = StopHandler()
    # A batch system stops a job by SIGTERM: the same clean stop as Ctrl-C.
    signal.signal(signal.SIGTERM, stop)
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # not where a shell ignores it
        signal.signal(signal.SIGINT, stop)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process lives
    else:
        sys.stderr = wrap_stream(sys.stderr, needed=False)
    if sys.stdout is not None:
        sys.stdout = wrap_stream(sys.stdout, needed=True)
    code = run(given, stop)
    for number in (signal.SIGINT, signal.SIGTERM):  # all is said; not even the interpreter's end is
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


class Output(io.FileIO):
    """The file behind stdout or stderr: it knows why nothing can be written to it, such as a full disk.

    Parameters
    ----------
    number
        Of the file.
    needed
        Whether that is an error: of stdout it is; what is said on stderr never ends a run.
    """

    def __init__(self, number: int, *, needed: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self.needed = needed
        self.fault: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Bytes that were written; all of them where it does not matter."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError as error:
            self.fault = error
            if self.needed:
                raise
            return memoryview(data).nbytes


def wrap_stream(stream: TextIO, *, needed: bool) -> TextIO:
    """The same stream over an `Output`; itself where there is no file behind it."""
    try:
        file = Output(stream.fileno(), needed=needed)
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        stream.encoding,
        stream.errors,
        line_buffering=bool(stream.line_buffering),
        write_through=not needed,
    )


@dataclass(slots=True)
class StopHandler:
    """Handler of the signals that ask to stop: `KeyboardInterrupt` in the main thread.

    A SIGTERM that follows changes nothing, as a second interrupt would hit the first one's clean-up; a
    Ctrl-C after a moment does interrupt it, but for the stretches that must stay whole. Once the command is
    `over`, and only says how it ended, no signal changes that.
    """

    got_signal: bool = False
    ignores_signals: bool = False
    last: float = -math.inf

    def __call__(self, number: int, frame: object) -> None:
        """The signal has come."""
        del frame
        now = time.monotonic()
        if (
            self.ignores_signals
            or (self.got_signal and number == signal.SIGTERM)
            or now - self.last < SIGNAL_GAP_S
        ):
            return
        self.got_signal, self.last = True, now
        raise KeyboardInterrupt


def run(given: list[str], stop: StopHandler | None = None) -> int:
    """Exit code of one command; every error is reported here and nowhere else."""
    stop = stop or StopHandler()
    try:
        if sys.stdout is None:
            return report("OSError", CLOSED_SENTENCE, FAILED, as_json=wants_json(given))
        try:
            return _outcome(given, stop)
        except (KeyboardInterrupt, click.Abort):
            stop.ignores_signals = True
            return _report_interrupt(given)
    except BrokenPipeError:  # whoever read our output has seen enough
        _drop_broken_output()
        return FAILED
    finally:  # where lines became JSON, they do so until the command has said how it ended
        sys.stderr = getattr(sys.stderr, "plain", sys.stderr)


def _outcome(given: list[str], stop: StopHandler) -> int:
    """Exit code of one command that is not interrupted and whose output is read."""
    try:
        code = verbs.main(given, prog_name="streamsvd", standalone_mode=False, obj=stop)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        raise
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except Exception as error:
        if stop.got_signal:  # an interrupt inside a lock may come out as another error
            stop.ignores_signals = True
            return _report_interrupt(given)
        if isinstance(error, OSError) and (fault := _stdout_fault()) is not None:
            _drop(sys.stdout)
            sentence = FULL_SENTENCE.format(fault.strerror or fault)
            return report("OSError", sentence, FAILED, as_json=False)
        if os.environ.get("STREAMSVD_DEBUG"):
            raise
        usage = isinstance(error, click.UsageError)  # its subclasses vary with the version of click
        kind = "UsageError" if usage else type(error).__name__
        sentence = _sentence(error, in_files=_is_of_pipelines(given))
        return report(kind, sentence, _exit_code(error), as_json=wants_json(given))


def _is_of_pipelines(given: Sequence[str]) -> bool:
    """Whether the verb takes the file of a pipeline."""
    return any(verb in HEADINGS["Pipelines"] for verb in given[:1])


def _stdout_fault() -> OSError | None:
    """Why stdout took nothing; None if it did."""
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return file.fault if isinstance(file, Output) else None


def _drop_broken_output() -> None:
    """What is left in the buffers of pipes that nobody reads goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop(stream)


def _drop(stream: TextIO) -> None:
    """What is left in its buffer goes nowhere, or the interpreter would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _exit_code(error: Exception) -> int:
    """Wrong usage is what another command line would have avoided."""
    return USAGE if isinstance(error, click.UsageError | SpecError | ShapeError) else FAILED


def _sentence(error: Exception, *, in_files: bool = False) -> str:
    """What went wrong, in the words of the command line, or of the files that describe pipelines."""
    if isinstance(error, click.UsageError):
        where = "" if error.ctx is None else f" Try '{error.ctx.command_path} --help'."
        return f"{error.format_message().rstrip('.')}.{where}"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, StreamSVDError) and in_files:
        return str(error)  # options as files write them
    if isinstance(error, StreamSVDError):
        return in_options(str(error))
    if isinstance(error, MemoryError):
        return f"out of memory ({error or 'no more could be had'}). Pass a smaller --memory or free some."
    if isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror or error}. Mend access to it and run again."
    text = " ".join(str(error).split()) or "no message"
    return (
        f"unexpected {type(error).__name__}: {text}. This is a fault of streamsvd: run again with "
        "STREAMSVD_DEBUG=1 in the environment and report what it prints."
    )


def _report_interrupt(given: Sequence[str]) -> int:
    sentence = PIPELINE_SENTENCE if _is_of_pipelines(given) else INTERRUPTED_SENTENCE
    return report("Interrupted", sentence, INTERRUPTED, as_json=wants_json(given))


def report(kind: str, message: str, code: int, *, as_json: bool) -> int:
    """One sentence on stderr, and one object on stdout where JSON was asked for."""
    click.echo(f"streamsvd: {message}", err=True)
    if as_json:
        status = "interrupted" if code == INTERRUPTED else "error"
        record: dict[str, Any] = {
            "kind": "error",
            "status": status,
            "error": kind,
            "message": message,
        }
        try:
            click.echo(json.dumps({**record, "exit_code": code, "streamsvd": __version__}))
        except BrokenPipeError:
            raise
        except OSError:  # it was said on stderr
            _drop(sys.stdout)
    return code


def report_checkpoint(error: KeyboardInterrupt, checkpoint: str | None, *, as_json: bool) -> int:
    """Says where the saves are; raises the interrupt again where there are none."""
    click.get_current_context().ensure_object(StopHandler).ignores_signals = True
    if checkpoint is None or not _has_saves(checkpoint):
        raise error
    sentence = (
        f"interrupted; what was saved is in {checkpoint}, and the same command goes on from it."
    )
    return report("Interrupted", sentence, INTERRUPTED, as_json=as_json)


def _has_saves(checkpoint: str) -> bool:
    from streamsvd.store.checkpoints.checkpoint import holds_saves

    try:
        return holds_saves(checkpoint)
    except (StreamSVDError, OSError):  # it cannot be seen; a run that goes on will say why
        return True


def wants_json(given: Sequence[str]) -> bool:
    """Whether ``--json`` is among the arguments, which may not have been parsed."""
    options = given[: given.index("--")] if "--" in given else given
    return "--json" in options
