"""A name says what a thing is or what a function does: no bare participle, and no class name twice."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamsvd

ROOT = Path(streamsvd.__file__).parent
OWN = {
    "Certificate.resolved": "which values are known to the tolerance: a word of the report, and a key of JSON",
    "FAILED": "an exit code, by the word for how a run ended",
    "INTERRUPTED": "an exit code, by the word for how a run ended",
    "REFUSED": "an exit code, by the word for how a run ended",
    "Certificate.captured": "the share of the energy that is in the factors: a word of the report, and a key of JSON",
}
SHARED = {
    "PCA": "the estimator has the name that users of scikit-learn know, the result that of its verb",
}
"""Class names that stand in two modules, and why."""
IRREGULAR = """
    begun broken built chosen dealt done drawn driven fallen felt forgotten found frozen given gone
    grown heard held hidden kept known laid lain learnt led lent lost made meant met paid ridden risen
    said seen sent shaken shown sold sought spent spoken spun stolen stood sunk sworn taken taught
    thought thrown told torn understood won worn woven written
"""
OTHER_WORDS = """
    bed bleed breed embed exceed feed hundred indeed need proceed red sacred seed shed shred sled
    speed spread unneeded weed
"""
FILES = sorted(ROOT.rglob("*.py"))


def words(name: str) -> list[str]:
    """The words of a name in any of the usual spellings."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip("_"))
    return [word for word in apart.lower().split("_") if word]


def is_participle(name: str) -> bool:
    """Whether a name is one word, and that a participle or a past form."""
    if len(words(name)) != 1:
        return False
    (word,) = words(name)
    return word in IRREGULAR.split() or (word.endswith("ed") and word not in OTHER_WORDS.split())


def targets(node: ast.stmt) -> list[str]:
    """Names that an assignment makes."""
    if isinstance(node, ast.AnnAssign):
        made: list[ast.expr] = [node.target]
    else:
        made = list(node.targets) if isinstance(node, ast.Assign) else []
    return [part.id for each in made for part in ast.walk(each) if isinstance(part, ast.Name)]


def names(tree: ast.Module) -> Iterator[str]:
    """Functions, classes and constants of a module, and the public methods of its classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield node.name
            for part in node.body:
                is_method = isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
                if is_method and not part.name.startswith("_"):
                    yield f"{node.name}.{part.name}"
        else:
            yield from targets(node)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("taken", True),
        ("_kept", True),
        ("PLACED", True),
        ("Compressed", True),
        ("seed", False),
        ("Feed", False),
        ("kept_rows", False),
        ("CompressedCollection", False),
        ("read", False),
    ],
)
def test_participles_are_told_from_other_words(name, is_one):
    assert is_participle(name) is is_one


def test_no_name_is_a_bare_participle():
    found = defaultdict(list)
    for file in FILES:
        for name in names(ast.parse(file.read_text(encoding="utf-8"))):
            if is_participle(name.rpartition(".")[2]):
                found[name].append(file.relative_to(ROOT).as_posix())
    assert found.keys() <= OWN.keys(), "say what it is or what it does, or say here why not"
    assert found.keys() == OWN.keys(), "an exception that is none any more"


def test_no_class_name_stands_in_two_modules():
    homes = defaultdict(set)
    for file in FILES:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].add(file.relative_to(ROOT).as_posix())
    found = {name: places for name, places in homes.items() if len(places) > 1}
    assert found.keys() == SHARED.keys(), found
