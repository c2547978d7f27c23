"""The compile cache: what is stored comes back, what is damaged or foreign does not."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from tests.faults.processes import run

import chainrule as cr
from chainrule.errors import CacheError
from chainrule.link.cache import (
    ABANDONED,
    HEADER,
    MAGIC,
    UNFINISHED,
    Cache,
    default_cache,
    key_of,
)
from chainrule.link.jit import cached_code
from chainrule.link.target import host

KEY = key_of(["program", "target"])
CODE = bytes(range(256)) * 8


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "cache")
    made.put(KEY, CODE)
    return made


def entry(cache: Cache) -> Path:
    (found,) = cache.directory.iterdir()
    return found


def test_what_is_stored_comes_back(cache: Cache) -> None:
    assert cache.get(KEY) == CODE
    assert cache.get(key_of(["program target"])) is None
    assert key_of(["ab", "c"]) != key_of(["a", "bc"])


def test_the_directory_is_the_users_alone(cache: Cache) -> None:
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    cache.directory.chmod(0o777)
    assert cache.get(KEY) is None
    with pytest.raises(CacheError, match="not yours alone"):
        cache.clear()


@pytest.mark.parametrize(
    "length", [0, 1, len(MAGIC), HEADER - 1, HEADER, HEADER + 1, HEADER + 2000]
)
def test_a_truncated_entry_is_ignored(cache: Cache, length: int) -> None:
    path = entry(cache)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(UserWarning, match="damaged entry"):
        assert cache.get(KEY) is None


def test_every_flipped_bit_is_noticed(cache: Cache) -> None:
    path = entry(cache)
    good = path.read_bytes()
    places = [*range(0, HEADER * 8, 7), *range(HEADER * 8, len(good) * 8, 501)]
    for bit in places:
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(bad)
        with pytest.warns(UserWarning, match="damaged entry"):
            assert cache.get(KEY) is None, f"bit {bit}"


def test_another_entrys_content_is_ignored(cache: Cache) -> None:
    other = key_of(["another program"])
    cache.put(other, CODE)
    (cache.directory / f"{other.hex()}.o").replace(cache.directory / f"{KEY.hex()}.o")
    with pytest.warns(UserWarning, match="damaged entry"):
        assert cache.get(KEY) is None


def test_links_pipes_and_directories_are_ignored(cache: Cache, tmp_path: Path) -> None:
    path = entry(cache)
    elsewhere = tmp_path / "elsewhere"
    path.replace(elsewhere)
    path.symlink_to(elsewhere)
    assert cache.get(KEY) is None
    path.unlink()
    os.mkfifo(path)
    assert cache.get(KEY) is None
    path.unlink()
    path.mkdir()
    assert cache.get(KEY) is None


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    cache = Cache(tmp_path / "file" / "cache")
    cache.put(KEY, CODE)
    assert cache.get(KEY) is None


def test_the_entries_used_longest_ago_go_first(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chainrule.link.cache.MOST_BYTES", 2 * (len(CODE) + HEADER))
    keys = [key_of([str(i)]) for i in range(3)]
    os.utime(entry(cache), (1, 1))
    for i, key in enumerate(keys[:2]):
        cache.put(key, CODE)
        os.utime(cache.directory / f"{key.hex()}.o", (10 + i, 10 + i))
    cache.put(keys[2], CODE)
    left = [k for k in (KEY, *keys) if (cache.directory / f"{k.hex()}.o").exists()]
    assert left == keys[1:]


def test_a_second_process_finds_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    x = np.arange(5.0)
    cr.jit(lambda v: v * 3.25 + 1.0)(x)
    cache = default_cache()
    assert cache is not None
    entries = {p: p.stat().st_mtime_ns for p in cache.directory.iterdir()}
    assert len(entries) == 2, "the kernel and its entry"

    again = cr.jit(lambda v: v * 3.25 + 1.0)
    np.testing.assert_array_equal(again(x), x * 3.25 + 1.0)
    assert set(cache.directory.iterdir()) == set(entries)
    cr.jit(lambda v: v * 3.25 + 2.0, cache=False)(x)
    assert set(cache.directory.iterdir()) == set(entries)


def _write(directory: Path, count: int) -> None:
    for i in range(count):
        Cache(directory).put(key_of([str(i % 5)]), bytes([i % 5]) * 1000)


def test_many_writers_leave_whole_entries(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(tmp_path / "c", 40)) for _ in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    cache = Cache(tmp_path / "c")
    assert [cache.get(key_of([str(i)])) for i in range(5)] == [bytes([i]) * 1000 for i in range(5)]


def test_the_key_covers_target_and_level(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    text = "define i64 @f() {\n  ret i64 7\n}\n"
    target = host()
    for level in (0, 2, 0, 2):
        cached_code(text, target, cache, level=level)
    assert len(list(cache.directory.iterdir())) == 2


def test_what_killed_writers_left_is_deleted_when_it_is_old(cache: Cache, tmp_path: Path) -> None:
    old, fresh = cache.directory / "new-killed", cache.directory / "new-writing"
    link, aside = cache.directory / "new-link", tmp_path / "aside"
    for path in (old, fresh, aside):
        path.write_bytes(b"half of an ent")
    link.symlink_to(aside)
    hours_ago = time.time() - 2 * ABANDONED
    os.utime(old, (hours_ago, hours_ago))
    os.utime(link, (hours_ago, hours_ago), follow_symlinks=False)
    os.utime(aside, (hours_ago, hours_ago))
    cache.put(key_of(["another"]), CODE)
    assert not old.exists()
    assert not link.is_symlink()
    assert aside.exists(), "links are deleted, not what they point to"
    assert fresh.exists(), "a writer may be at work"
    assert cache.get(KEY) == CODE
    cache.clear()
    assert list(cache.directory.iterdir()) == []


KILLED = """
    import os, pathlib, signal, sys
    from chainrule.link.cache import Cache, key_of
    os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
    Cache(pathlib.Path(sys.argv[1])).put(key_of(["x"]), b"code" * 1000)
"""


def test_a_writer_killed_in_the_middle_leaves_one_file_for_the_next_to_delete(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "c"
    for _ in range(2):
        assert run(KILLED, directory).returncode != 0
    left = list(directory.iterdir())
    assert len(left) == 2
    assert all(p.name.startswith(UNFINISHED) for p in left)
    for path in left:
        os.utime(path, (1, 1))
    Cache(directory).put(KEY, CODE)
    assert [p.suffix for p in directory.iterdir()] == [".o"]
