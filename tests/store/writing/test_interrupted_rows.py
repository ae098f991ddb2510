"""An interrupt while rows are written waits for what zarr writes in its own thread, and leaves no folder behind."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.store.writing import partial, rows


@pytest.fixture(autouse=True)
def interrupts() -> Any:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_during(monkeypatch: pytest.MonkeyPatch, home: Any, name: str) -> None:
    """Ctrl-C in the middle of a step, which writes on after it."""
    real = getattr(home, name)

    def step(*args: Any, **given: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(*args, **given)

    monkeypatch.setattr(home, name, step)


A = np.random.default_rng(0).standard_normal((300, 8))


@pytest.mark.parametrize(
    ("home", "name"),
    [(rows, "create_labelled"), (partial, "_try_lock"), (partial.shutil, "rmtree"), (rows.zarr, "open_array")],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["project", "reconstruct", "shuffle"])
def test_nothing_is_left(
    home: Any, name: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = streamsvd.pca(A, 2)
    out = tmp_path / "out.zarr"
    make: dict[str, Any] = {
        "project": lambda: found.transform(A, out=out),
        "reconstruct": lambda: found.reconstruct(source=A, out=out),
        "shuffle": lambda: streamsvd.shuffle(A, out),
    }
    if name == "rmtree":  # a second Ctrl-C while the first is cleared up after
        interrupt_during(monkeypatch, rows, "create_labelled")
    interrupt_during(monkeypatch, home, name)
    try:
        make[verb]()
    except KeyboardInterrupt:
        assert list(tmp_path.iterdir()) == []
    else:  # that step is not on the way of this verb
        assert name == "open_array"
        assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
