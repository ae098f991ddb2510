"""A file without a byte is called empty, whatever its name says it is."""

from __future__ import annotations

import pytest

import streamsvd
from streamsvd.cli import app
from streamsvd.store.sources.kinds import KINDS

SUFFIXES = sorted({suffix for kind in KINDS for suffix in kind.suffixes})


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".csv", ".txt.gz", ".xlsx", ".unknown", ""])
def test_a_file_without_a_byte_is_empty(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    with pytest.raises(streamsvd.StoreError, match="is empty: the file has no bytes"):
        streamsvd.open(path)


@pytest.mark.parametrize("name", ["a.csv", "a.nc", "a.h5ad"])
@pytest.mark.parametrize("command", ["info", "convert"])
def test_commands_say_so(tmp_path, capsys, command, name):
    path = tmp_path / name
    path.write_bytes(b"")
    assert app.run([command, str(path), *[str(tmp_path / "B.zarr")][: command == "convert"]]) != 0
    assert "is empty: the file has no bytes" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [name]
