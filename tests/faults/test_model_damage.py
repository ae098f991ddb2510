"""Every stored object is damaged in every way: it is named, never read as numbers, and repaired (P4, P5)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamsvd import Model, StoreError
from streamsvd.models import repair_model
from streamsvd.store.objects import objects_at
from streamsvd.store.versions import Damage, ModelStore, check_store, lease
from streamsvd.store.versions import model_store as versions_module
from streamsvd.store.versions.records import Head, Lease, seal
from tests.faults.model_kit import applied, assert_serial, block_of, copy, files_of


def flip(data: bytes, at: float = 0.4) -> bytes:
    where = min(int(len(data) * at), len(data) - 1)
    return data[:where] + bytes([data[where] ^ 4]) + data[where + 1 :]


def zero_page(data: bytes) -> bytes:
    """A page that never reached the disk; of short objects, half."""
    size = min(4096, len(data) // 2)
    return data[:size] + bytes(size) + data[2 * size :]


WAYS: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda data: None,
    "emptied": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "flipped": flip,
    "flipped at the end": lambda data: flip(data, 1.0),
    "appended": lambda data: data + b"\n",
    "zeroed": zero_page,
}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with left vectors, segments of blocks, a mean, a lease and six versions of which five are kept."""
    path = tmp_path_factory.mktemp("whole") / "model"
    model = Model.create(path, 3, keep=5, u=True, center=True)
    run = versions_module.SEGMENT_ENTRIES
    versions_module.SEGMENT_ENTRIES = 3  # so that there are segments
    try:
        for i in range(7):
            model.update(block_of(f"b{i}"), f"b{i}")
    finally:
        versions_module.SEGMENT_ENTRIES = run
    model.collect()
    assert model.verify() == []
    return path


def reference(path: Path) -> dict[int, np.ndarray]:
    """Values of every version that is kept."""
    newest = Model.open(path).version
    return {v: Model.open(path, version=v).s for v in range(newest - 4, newest + 1)}


def keys_of(path: Path) -> list[str]:
    return sorted(files_of(path))


def damaged(path: Path, key: str, way: str) -> bool:
    """Damage an object; whether it is another one now."""
    target = path / key
    before = target.read_bytes()
    after = WAYS[way](before)
    if after is None:
        target.unlink()
    else:
        target.write_bytes(after)
    return after != before


def never_wrong(path: Path, values: dict[int, np.ndarray], rows: np.ndarray) -> None:
    """Whatever can be opened has right numbers; all else is a StoreError."""
    for version in (None, *sorted(values)[-2:]):
        s = None if version is None else values[version]
        try:
            model = Model.open(path, version=version)
            assert model.version in values
            np.testing.assert_array_equal(model.s, values[model.version] if s is None else s)
            assert version is not None or model.version == max(values), "silently older"
            if version is not None:
                continue
            U = model.U[:]
            centred = rows[: len(U)] - model.mean
            error = np.linalg.norm(centred - (U * model.s) @ model.Vh)
            assert error <= model.certificate.frobenius_error * (1 + 1e-6)
        except StoreError as error:
            assert str(error)


def names_it(damage: list[Damage], keys: set[str]) -> bool:
    return bool({d.key for d in damage} & keys)


SELDOM = ("emptied", "truncated", "one byte short", "flipped at the end", "zeroed")


@pytest.mark.parametrize(
    "way", [pytest.param(w, marks=[pytest.mark.slow] if w in SELDOM else []) for w in WAYS]
)
def test_every_damaged_object_is_named_never_read_and_repaired(
    model_path: Path, tmp_path: Path, way: str
) -> None:
    values = reference(model_path)
    rows = np.concatenate([block_of(f"b{i}") for i in range(7)])
    count = 0
    keys = keys_of(model_path)
    if way not in ("deleted", "flipped"):  # the rest for the newest versions
        keys = [k for k in keys if not k.startswith("versions/") or int(k[9:21]) > 5]
    for key in keys:
        path = copy(model_path, tmp_path / "work")
        if not damaged(path, key, way):
            continue
        count += 1
        try:
            damage, whole = check_store(ModelStore(objects_at(path)))
        except StoreError as error:
            raise AssertionError(f"{key} {way}: the check itself failed: {error}") from error
        assert names_it(damage, {key}), f"{key} {way}: {[str(d) for d in damage]}"
        never_wrong(path, values, rows)
        repairs(path, whole, damage, values)
    assert count > 20


def repairs(path: Path, whole: int, before: list[Damage], values: dict[int, np.ndarray]) -> None:
    """The newest version that is whole is the newest; what stays damaged was known to be."""
    if not whole:
        with pytest.raises(StoreError, match="Restore it from a copy"):
            repair_model(path)
        return
    model, found = repair_model(path)
    assert {d.key for d in found} == {d.key for d in before}
    np.testing.assert_array_equal(model.s, values[whole])
    assert model._held.settings.keep == 5
    assert_serial(model)
    left = model.verify()
    assert {d.key for d in left} <= {d.key for d in before}
    assert not names_it(left, {"model.json", "head.json"})
    assert not any(d.key.startswith(("log/", "leases/")) for d in left)
    assert model.update(block_of("after"), "after").n_absorbed
    assert_serial(Model.open(path))


def test_two_objects_that_changed_places_are_seen(model_path: Path, tmp_path: Path) -> None:
    """A sample of all pairs, and of those of the newest version, the log and the settings."""
    values = reference(model_path)
    rows = np.concatenate([block_of(f"b{i}") for i in range(7)])
    keys = keys_of(model_path)
    newest = Model.open(model_path).versions[-1].folder
    near = [k for k in keys if k.startswith(newest) or not k.startswith("versions/")]
    pairs = list(itertools.combinations(near, 2))
    draw = np.random.default_rng(0)
    pairs = [pairs[i] for i in draw.choice(len(pairs), 120, replace=False)]
    pairs += [tuple(draw.choice(keys, 2, replace=False)) for _ in range(60)]
    whole = files_of(model_path)
    path = copy(model_path, tmp_path / "work")
    for a, b in pairs:
        if whole[a] == whole[b]:
            continue
        (path / a).write_bytes(whole[b])
        (path / b).write_bytes(whole[a])
        assert names_it(check_store(ModelStore(objects_at(path)))[0], {a, b}), (a, b)
        if a.startswith("versions/") and b.startswith("versions/"):
            never_wrong(path, values, rows)
        (path / a).write_bytes(whole[a])
        (path / b).write_bytes(whole[b])


def test_no_bit_flip_of_the_newest_factor_is_silent(model_path: Path, tmp_path: Path) -> None:
    path = copy(model_path, tmp_path / "work")
    newest = Model.open(path).versions[-1].folder
    draw = np.random.default_rng(1)
    keys = [k for k in keys_of(path) if k.startswith(newest)]
    for _ in range(300):
        target = path / str(draw.choice(keys))
        data = bytearray(target.read_bytes())
        whole = bytes(data)
        data[draw.integers(len(data))] ^= 1 << int(draw.integers(8))
        target.write_bytes(bytes(data))
        key = target.relative_to(path).as_posix()
        assert names_it(check_store(ModelStore(objects_at(path)))[0], {key})
        if any(part in key for part in ("/s/", "/Vh/", "/mean/", "/manifest.json")):
            with pytest.raises(StoreError):
                Model.open(path)
        target.write_bytes(whole)


def test_a_lease_that_is_damaged_is_named_and_removed(model_path: Path, tmp_path: Path) -> None:
    path = copy(model_path, tmp_path / "work")
    store = ModelStore(objects_at(path))
    key = lease(store, 7)
    (path / key).write_bytes(b"{")
    assert names_it(check_store(store)[0], {key})
    model, _ = repair_model(path)
    assert model.verify() == []
    assert model.version == 7, "no version is needed to remove a lease"


def test_several_lost_versions_are_repaired_at_once(model_path: Path, tmp_path: Path) -> None:
    path = copy(model_path, tmp_path / "work")
    for version in (6, 7):
        (path / f"log/{version:012d}.json").unlink()
    with pytest.raises(StoreError, match="log/000000000006.json is missing"):
        Model.open(path)
    model, damage = repair_model(path)
    assert names_it(damage, {"log/000000000006.json"})
    assert names_it(damage, {"log/000000000007.json"})
    assert applied(model) == [f"b{i}" for i in range(5)]
    assert model.version == 8
    assert model.verify() == []
    with pytest.raises(StoreError, match="was lost, and repaired over"):
        model.rollback(7)
    assert model.update(block_of("b5"), "b5").n_absorbed
    for i in range(9):
        model.update(block_of(f"later{i}"), f"later{i}")
    assert model.collect() >= 0
    assert_serial(Model.open(path))


def test_repair_keeps_what_it_knows_of_settings_that_were_lost(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=3, center=True, seed=5)
    for i in range(5):
        model.update(block_of(f"b{i}"), f"b{i}")
    before = model._held.settings
    (path / "model.json").unlink()
    with pytest.raises(StoreError, match="is not a model: it has no model.json"):
        Model.open(path)
    model, damage = repair_model(path)
    assert [str(d) for d in damage] == ["model.json: missing"]
    assert model._held.settings.keep == before.keep
    assert model.spec == Model.open(path, version=5).spec
    assert model._held.settings.base is False


def test_a_whole_model_needs_no_repair(model_path: Path, tmp_path: Path) -> None:
    path = copy(model_path, tmp_path / "work")
    before = files_of(path)
    model, damage = repair_model(path)
    assert damage == []
    assert model.version == 7
    assert files_of(path) == before


def test_repair_of_what_has_no_whole_version_says_so(model_path: Path, tmp_path: Path) -> None:
    path = copy(model_path, tmp_path / "work")
    for manifest in path.glob("versions/*/manifest.json"):
        manifest.unlink()
    with pytest.raises(StoreError, match=r"no version that is whole: .*manifest.json: missing"):
        repair_model(path)


def test_a_head_that_names_what_was_never_written_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "model"
    Model.create(path, 3).update(block_of("a"), "a")
    (path / "head.json").write_bytes(seal(Head(10**12)))
    with pytest.raises(StoreError, match="too much|Too much|missing"):
        Model.open(path)
    with pytest.raises(StoreError, match="Too much of it is missing: restore it from a copy"):
        check_store(ModelStore(objects_at(path)))


def test_strangers_in_the_folders_are_left_alone(model_path: Path, tmp_path: Path) -> None:
    """Other programs put files everywhere; none is taken for an object, none stops a collection."""
    path = copy(model_path, tmp_path / "work")
    strange = [
        ".DS_Store",
        "log/notes.txt",
        "log/²²²²²²²²²²²².json",
        "versions/a b",
        "leases/x.json~",
    ]
    for name in strange:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"x")
    (path / "versions" / "000000000001-old").mkdir()
    model = Model.open(path)
    assert model.update(block_of("more"), "more").n_absorbed
    model.collect()
    assert all((path / name).exists() for name in strange)
    assert [d.key for d in model.verify()] in ([], ["leases/x.json~"])


def test_a_lease_for_ever_is_a_lease(tmp_path: Path) -> None:
    record = seal(Lease(1, 1e300))
    path = tmp_path / "model"
    model = Model.create(path, 3, keep=2)
    for i in range(4):
        model.update(block_of(f"b{i}"), f"b{i}")
    (path / "leases").mkdir(exist_ok=True)
    (path / "leases/000000000001-000000000000.json").write_bytes(record)
    model.collect()
    assert len(Model.open(path, version=1).blocks) == 1
