"""Every benchmark says what it does, without doing it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import benchmarks

STARTED = sorted(
    path.stem
    for path in Path(benchmarks.__file__).parent.glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", STARTED)
def test_every_benchmark_answers_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        import_module(f"benchmarks.{name}").main(["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m benchmarks.{name}")


def test_the_peers_answer_help_without_being_installed(capsys):
    from benchmarks import peers

    for name in (*peers.PEERS, *peers.FAILURES):
        with pytest.raises(SystemExit) as end:
            peers.main([name, "--help"])
        assert end.value.code == 0
    assert "usage" in capsys.readouterr().out
