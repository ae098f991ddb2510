"""The state of a stream as plain values and arrays, and back; and the saves of a run over one, which keep that format."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Self

import numpy as np

from streamsvd.engine.saves import Saves, check_same_run, check_seconds
from streamsvd.store.checkpoints.checkpoint import Checkpoint
from streamsvd.streams.mathematics import StreamState
from streamsvd.streams.mathematics.directions import FrequentDirections
from streamsvd.streams.mathematics.growth import Growth
from streamsvd.streams.mathematics.heavy import HeavyRows
from streamsvd.streams.mathematics.order import OrderTest
from streamsvd.streams.mathematics.power import History, Window
from streamsvd.streams.options import StreamOptions

PURPOSE = "top_eigenvectors"
PARTS: dict[str, type] = {
    "heavy": HeavyRows,
    "directions": FrequentDirections,
    "order": OrderTest,
    "history": History,
    "window": Window,
    "judged": Window,
    "growth": Growth,
}
STATE = "state"
"""Name of what is kept: the state, and its position in the stream."""
EARLIER_DEFAULTS: dict[str, Any] = {"nonfinite": "raise", "mask": None}
"""What a run that was saved before these were asked of it had."""


@dataclass(slots=True, eq=False)
class StreamSaves(Saves):
    """Saves of a run that goes on within a pass, in the format that streams have had from the first."""

    @classmethod
    def from_address(
        cls, place: str | os.PathLike[str], run: dict[str, Any], seconds: float
    ) -> Self:
        """Those at a place; what was saved is there again.

        Raises
        ------
        SpecError
            If ``seconds`` is no time, or the saved run is another; it names what differs.
        StoreError
            If what was saved cannot be read.
        """
        check_seconds(seconds)
        store = Checkpoint.from_address(place, PURPOSE)
        saves = cls(store, run, {}, seconds, saved_at_s=time.monotonic())
        found = store.newest()
        if found is not None:
            plain, arrays = found
            check_same_run(EARLIER_DEFAULTS | plain["run"], run, str(place))
            saves.values[STATE] = (restore_state(plain["state"], arrays), int(plain["position"]))
        return saves

    def encode(self) -> tuple[Any, dict[str, Any]]:
        """The state, the run and the position."""
        state, position = self.values[STATE]
        plain, arrays = pack_state(state)
        return {"state": plain, "run": self.run, "position": position}, arrays


def pack_state(state: StreamState) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Plain values and arrays that say all of the state."""
    plain: dict[str, Any] = {"options": asdict(state.options), "d": state.d, "n_rows": state.n_rows}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    _pack_part(state, "", plain, arrays)
    plain["one_window"] = state.judged is not None and state.judged is state.window
    return plain, arrays


def _pack_part(
    part: Any, prefix: str, plain: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]
) -> None:
    for f in fields(part):
        value, name = getattr(part, f.name), prefix + f.name
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, StreamOptions):
            continue
        elif is_dataclass(value):
            plain[name] = True
            _pack_part(value, name + ".", plain, arrays)
        else:
            plain[name] = value


def restore_state(plain: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> StreamState:
    """The state again, to the bit."""
    state = StreamState(StreamOptions(**plain["options"]), plain["d"], plain["n_rows"])
    for f in fields(StreamState):
        if f.name in PARTS:
            made = (
                None
                if plain[f.name] is None
                else _restore_part(PARTS[f.name], f.name + ".", plain, arrays)
            )
            setattr(state, f.name, made)
        elif f.name in arrays:
            setattr(state, f.name, arrays[f.name].copy())
        elif f.name != "options":
            setattr(state, f.name, plain[f.name])
    if plain["one_window"]:
        state.judged = state.window
    return state


def _restore_part(
    kind: type, prefix: str, plain: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]
) -> Any:
    part: Any = object.__new__(kind)
    for f in fields(kind):
        name = prefix + f.name
        setattr(part, f.name, arrays[name].copy() if name in arrays else plain[name])
    return part
