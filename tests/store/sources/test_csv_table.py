"""A table of text is read once, in order, with the names that it has; what is no number is named by its line and column."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.sources.tables import csv_parsers, csv_table
from streamsvd.store.sources.tables.csv_table import csv_blocks, open_csv_table

pytest.importorskip("pyarrow")
NAN = np.nan


def write(folder, name: str, text: str, encoding: str = "utf-8"):
    data = text.encode(encoding)
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def whole(path, **asked):
    table = open_csv_table(path, **asked)
    blocks = list(csv_blocks(table))
    assert [b.first for b in blocks] == np.cumsum([0, *[len(b.values) for b in blocks]])[
        :-1
    ].tolist()
    names = None if blocks[0].names is None else [name for b in blocks for name in b.names]
    return table, np.concatenate([b.values for b in blocks]), names


CASES = {
    "titles": ("a.csv", "a,b\n1,2\n3,4\n", ("a", "b"), None, [[1, 2], [3, 4]]),
    "none": ("a.csv", "1,2\n3,4\n", None, None, [[1, 2], [3, 4]]),
    "names of rows": ("a.tsv", "\ta\tb\nr\t1\t2\ns\t3\t\n", ("a", "b"), ["r", "s"], [[1, 2], [3, NAN]]),
    "gzip": ("a.csv.gz", "id,a\nr,1\ns,NA\n", ("a",), ["r", "s"], [[1], [NAN]]),
    "commas in numbers": ("a.csv", "x;y\n1,5;2\n", ("x", "y"), None, [[1.5, 2]]),
    "those of R": ("a.txt", "a b\nr 1 2\n", ("a", "b"), ["r"], [[1, 2]]),
    "those of pandas": ("a.csv", ",0,1\n7,5,6\n", ("", "0", "1"), None, [[7, 5, 6]]),
    "those of pandas, and names": ("a.csv", ",0,1\nx,5,6\n", ("0", "1"), ["x"], [[5, 6]]),
    "counts alone": ("a.csv", "0,1\n5,6\n", None, None, [[0, 1], [5, 6]]),
    "names and numbers": ("a.csv", "geneA,0.5,1\ngeneB,2,3\n", None, ["geneA", "geneB"], [[0.5, 1], [2, 3]]),
    "names and counts": ("a.csv", "rs1,0,0\nrs2,2,1\n", None, ["rs1", "rs2"], [[0, 0], [2, 1]]),
    "names, one missing": ("a.csv", "id,a\nx,1\n,2\n", ("a",), ["x", ""], [[1], [2]]),
    "numbers, one missing": ("a.csv", "b,a\nNA,1\n3,2\n", ("b", "a"), None, [[NAN, 1], [3, 2]]),
    "years of R": ("a.txt", "2000 2001\nr 1 2\n", ("2000", "2001"), ["r"], [[1, 2]]),
    "blank lines above": ("a.csv", "\n# x\n\na,b\n1,2\n", ("a", "b"), None, [[1, 2]]),
    "quotes": ("a.csv", '"a","b, c"\n"1","2"\n', ("a", "b, c"), None, [[1, 2]]),
    "one column": ("a.csv", "a\n1\n2\n", ("a",), None, [[1], [2]]),
    "one row": ("a.csv", "1,2\n", None, None, [[1, 2]]),
    "names and no titles": ("a.csv", "r,1,9\ns,3,4\n", None, ["r", "s"], [[1, 9], [3, 4]]),
    "comments, blank lines, ends of Windows": ("a.csv", "# x\r\na,b\r\n1,2\r\n\r\n3,inf", ("a", "b"), None, [[1, 2], [3, np.inf]]),
    "a mark of bytes": ("a.csv", "\ufeffa,b\n1,2\n", ("a", "b"), None, [[1, 2]]),
}  # fmt: skip


@pytest.mark.parametrize("plain", [False, True], ids=["arrow", "python"])
@pytest.mark.parametrize("case", CASES)
def test_the_head_tells_names_and_signs(tmp_path, monkeypatch, case, plain):
    if plain:
        monkeypatch.setattr(csv_parsers, "MANY_COLUMNS", 0)
    name, text, titles, names, values = CASES[case]
    if case == "names and no titles":
        table, found, rows = whole(write(tmp_path, name, text), header=False)
    else:
        table, found, rows = whole(write(tmp_path, name, text))
    assert (table.column_names, rows) == (titles, names)
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("width", [3, 300])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_any_cut_of_the_text_gives_the_same_rows(tmp_path, monkeypatch, width, packed):
    A = np.random.default_rng(0).standard_normal((97, width))
    A[::7, 1] = NAN
    lines = [",".join(["id", *(f"c{j}" for j in range(width))])]
    lines += [
        ",".join([f"r{i}", *("" if x != x else repr(float(x)) for x in row)])
        for i, row in enumerate(A)
    ]
    path = write(tmp_path, f"a.csv{packed}", "\n".join(lines) + "\n")
    for size in (1, 700, 1 << 20):
        monkeypatch.setattr(csv_table, "BLOCK_BYTES", size)
        monkeypatch.setattr(csv_table, "LINES_AT_ONCE", 1)
        table, values, names = whole(path)
        np.testing.assert_array_equal(values, A)
        assert names == [f"r{i}" for i in range(97)]
        assert table.column_names == tuple(f"c{j}" for j in range(width))


WRONG = {
    "ragged": ("a,b\n1,2\n3,4\n1,2,3\n", StoreError, r"3 fields in line 4 .* and 2 in the lines before"),
    "text below": ("id,a,b\nr,1,2\ns,3,dog\n", SpecError, r"'dog' in line 3 .* of column 1 'b', which is no number"),
    "column of text": ("id,a,kind\nr,2,dog\n", SpecError, r"columns of text: 'kind'"),
    "header alone": ("a,b\n", ShapeError, "a header and no rows"),
    "nothing": ("\n\n", ShapeError, "no rows"),
    "names alone": ("id\nr\ns\n", ShapeError, "names of rows and no numbers"),
    "text in a column of numbers": ("a,b,c\n<0.1,2,3\n0.5,3,4\n", SpecError, r"'<0.1' in line 2 .* '0.5' in line 3, which is one: .* Mend"),
    "hexadecimal": ("a,b\n1,2\n0x1,2\n", SpecError, r"'0x1' in line 3 .* '1' in line 2"),
    "exponent of Fortran": ("1,2.5\n1D3,2.5\n", SpecError, r"'1D3' in line 2 .* '1' in line 1"),
    "text in the first line": ("<1,2,3\n0.5,3,4\n", SpecError, r"'<1' in line 1 .* '0.5' in line 2, .* header=True"),
    "years": ("place,2000,2001\nx,1,2\n", SpecError, r"'place', '2000', '2001', which may be a header.*header=True .--header.*header=False .--no-header"),
    "counts after a name": ("rs1,1,2\nrs2,0,0\n", SpecError, r"'rs1', '1', '2', which may be a header"),
    "years without a title": (",2000,2001\n1,1,2\n", SpecError, r"'', '2000', '2001', which may be a header"),
    "titles too few": ("a,b\n1,2,3\n", ShapeError, "2 titles in its header and 3 fields"),
}  # fmt: skip


@pytest.mark.parametrize("plain", [False, True], ids=["arrow", "python"])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_table_of_numbers_is_named(tmp_path, monkeypatch, case, plain):
    if plain:
        monkeypatch.setattr(csv_parsers, "MANY_COLUMNS", 0)
    text, error, words = WRONG[case]
    with pytest.raises(error, match=words):
        whole(write(tmp_path, "a.csv", text))


NO_HEADER = {
    "markers": "rs1,1,2\nrs2,0,0\nrs3,2,1\n",
    "dates": "2000-01-01,1,2\n2000-01-02,4,5\n",
    "genes": "geneA,5,6\ngeneB,0,1\n",
}


@pytest.mark.parametrize("case", NO_HEADER)
def test_the_user_says_what_the_first_line_is(tmp_path, case):
    path = write(tmp_path, "a.csv", NO_HEADER[case])
    lines = [line.split(",") for line in NO_HEADER[case].splitlines()]
    table, values, names = whole(path, header=False)
    assert names == [line[0] for line in lines]
    np.testing.assert_array_equal(values, [[float(x) for x in line[1:]] for line in lines])
    assert table.column_names is None
    table, values, names = whole(path, header=True)
    assert table.column_names == tuple(lines[0][1:])
    assert names == [line[0] for line in lines[1:]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (",0,1\n7,5,6\n", ["taken for a header: '', '0', '1'; .*--no-header"]),
        ("0,1\n5,6\n", ["taken for a row of numbers: '0', '1'; .*--header"]),
        ("<0.1\n0.5\n", ["taken for a header: '<0.1'"]),
        ("r1,<0.1,5\nr2,1,2\n", ["taken for a header: 'r1', '<0.1', '5'", "names of rows: 'r2'"]),
        ("id,a\nr,1\ns,2\n", ["first column is taken for names of rows: 'r', 's'$"]),
        ("a,b\n1,2\n", []),
        ("5,7\n1,2\n", []),
    ],
)
def test_what_was_guessed_is_told(tmp_path, text, words):
    told = open_csv_table(write(tmp_path, "a.csv", text)).remarks
    assert len(told) == len(words)
    for found, pattern in zip(told, words, strict=True):
        assert re.search(pattern, found)


@pytest.mark.parametrize("width", [2, 300])
@pytest.mark.parametrize(("usual", "odd"), [("r", "7"), ("5", "1D3")])
def test_what_is_far_below_is_named_by_its_line(tmp_path, width, usual, odd):
    lines = [",".join(["t", *(f"c{j}" for j in range(width))])]
    lines += [",".join([odd if i == 3000 else usual, *["1"] * width]) for i in range(3001)]
    path = write(tmp_path, "a.csv", "\n".join(lines))
    with pytest.raises(SpecError, match=f"'{odd}' in line 3,002 "):
        whole(path)


@pytest.mark.parametrize("plain", [False, True], ids=["arrow", "python"])
def test_a_number_with_a_comma_is_no_name(tmp_path, monkeypatch, plain):
    if plain:
        monkeypatch.setattr(csv_parsers, "MANY_COLUMNS", 0)
    path = write(tmp_path, "a.csv", "id;a\n" + "r;1,5\n" * 1500 + "2,5;1,5\n")
    with pytest.raises(SpecError, match=r"'2,5' in line 1,502 "):
        whole(path)


def test_damage_is_named(tmp_path):
    with pytest.raises(StoreError, match="UTF-8"):
        whole(write(tmp_path, "a.csv", "é,b\n1,2\n", "latin-1"))
    with pytest.raises(StoreError, match="UTF-8"):
        whole(write(tmp_path, "a.csv", "id,b\nr,1\né,2\n", "latin-1"))
    with pytest.raises(StoreError, match="runs of spaces"):
        whole(write(tmp_path, "a.txt", "1.0  2.0\n"))
    path = write(tmp_path, "a.csv.gz", "a,b\n" + "1,2.5\n" * 9999)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"no complete \.gz file"):
        whole(path)
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(StoreError, match=r"no complete \.gz file"):
        whole(path)
    with pytest.raises(StoreError, match="No such file"):
        open_csv_table(tmp_path / "absent.csv")


def test_a_line_that_never_ends_is_refused_before_it_is_held(tmp_path):
    for lines, words in (("a,b\n" + "1,2\n" * 3, "a line of more than"), ("a,b\n", "field larger")):
        path = write(tmp_path, "a.csv", lines + "1" * (4 << 20))
        with pytest.raises(StoreError, match=words):
            whole(path)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "rows"), [(2, 4_000_000), (20_000, 300)])
@pytest.mark.parametrize("named", [False, True])
def test_memory_is_as_told(tmp_path, width, rows, named):
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write(",".join(["id"] * named + [f"c{j}" for j in range(width)]) + "\n")
        line = ",".join(["r"] * named + ["1"] * width) + "\n"
        for _ in range(rows):
            file.write(line)
    code = f"""
import pathlib, resource
from streamsvd.store.sources.tables.csv_table import csv_blocks, open_csv_table
small = pathlib.Path({str(tmp_path / "small.csv")!r})
small.write_text("a,b\\n1,2\\n")
list(csv_blocks(open_csv_table(small)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = open_csv_table(pathlib.Path({str(path)!r}))
rows = sum(len(block.values) for block in csv_blocks(table))
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, table.transient_bytes)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    found, grown, allowed = map(int, done.stdout.split())
    assert found == rows
    assert grown <= allowed + (4 << 20)
