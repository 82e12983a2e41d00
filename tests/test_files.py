"""Writing, locking and reading when things go wrong: `mst.files` at its edges."""
import errno
import io
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from mst import files
from mst.files import (
    PART, WriteError, atomic_path, csv_records, folder_lock, hold_folder, in_shard, make_folder,
    mark_writing, remove_parts, write_error)


@pytest.fixture
def target(tmp_path):
    """A file that stands there whole, in a folder made with it."""
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as part:
        part.write_text("whole")
    return target


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_folder_is_made_and_nothing_else_left(target):
    assert target.read_text() == "whole" and names(target.parent) == ["a.txt"]


def test_part_lies_beside_its_target_with_its_suffix(target):
    with atomic_path(target) as part:
        assert part.parent == target.parent and part.suffix == ".txt" and part != target
        part.touch()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, ValueError])
def test_stopped_in_the_middle_keeps_the_old_file(target, stop):
    with pytest.raises(stop):
        with atomic_path(target) as part:
            part.write_text("ha")
            raise stop
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


def test_left_by_killed_programs_goes_when_nobody_writes(target, monkeypatch):
    (left := target.parent / f"{PART}left.txt").touch()  # by a program that was killed
    with atomic_path(target) as part:
        part.write_text("new")
        assert left.exists()  # this minute has been looked already
        monkeypatch.setattr(files, "SWEPT", {})
        with atomic_path(target.parent / "b.txt") as other:
            other.touch()
        assert left.exists() and part.exists()  # somebody writes
    with atomic_path(target) as part:
        part.write_text("newer")
    assert names(target.parent) == ["a.txt", "b.txt"] and target.read_text() == "newer"


def test_parts_of_another_machine_stay(tmp_path, monkeypatch):
    (tmp_path / ".part-another machine-1").touch()
    (tmp_path / f"{PART}1").touch()
    monkeypatch.setattr(files, "SWEPT", {})
    with mark_writing(tmp_path):
        assert names(tmp_path) == [".part-another machine-1"]


def test_nothing_to_remove(tmp_path):
    assert remove_parts(tmp_path) is None


def test_error_about_another_file_passes_through(target):
    with pytest.raises(FileNotFoundError, match="nothing.txt") as caught:
        with atomic_path(target):
            (target.parent / "nothing.txt").read_text()
    assert not isinstance(caught.value, WriteError)


def test_folder_removed_while_writing_and_made_again(target):
    with pytest.raises(WriteError,
                       match="a.txt: not written, it or its folder was removed meanwhile"):
        with atomic_path(target) as part:
            part.touch()
            shutil.rmtree(target.parent)
    with atomic_path(target) as part:
        part.touch()
    assert target.exists()


@pytest.mark.parametrize("path, reason", [("a.txt/b", "its folder is a file"),
                                          ("a.txt/b/c", "one of its folders is a file"),
                                          ("x" * 300, "too long")])
def test_impossible_path_is_named_with_the_reason(target, path, reason):
    with pytest.raises(WriteError, match=f"{path}: not written, .*{reason}"):
        with atomic_path(target.parent / path) as part:
            part.touch()


def test_write_error_keeps_the_number_and_is_made_once():
    told = write_error(Path("a"), OSError(errno.ENOSPC, "full"))
    assert told.errno == errno.ENOSPC and write_error(Path("a"), told) is None


def test_folder_in_place_of_a_file_is_refused(target):
    with pytest.raises(WriteError, match="its folder is a file"):
        make_folder(target)


def at_once(folder, *shards):
    """How many of two threads were in the folder at once, and what they said."""
    inside, most, said = [], [], io.StringIO()

    def work(shard):
        with folder_lock(folder, "a test", shard):
            inside.append(shard)
            time.sleep(.5)
            most.append(len(inside))
            inside.remove(shard)
    with redirect_stdout(said), ThreadPoolExecutor(2) as pool:
        list(pool.map(work, shards))
    return max(most), said.getvalue()


@pytest.mark.parametrize("shards", [(None, None), (None, (1, 2)), ((1, 2), None), ((1, 2), (1, 2)),
                                    ((1, 2), (2, 3))])
def test_one_waits_for_the_other_and_says_so_once(tmp_path, shards):
    folder = tmp_path / "new"
    assert at_once(folder, *shards) == (
        1, f"{folder}: a test waits for another process that is at work in this folder\n")


def test_shards_of_one_work_do_not_wait(tmp_path):
    assert at_once(tmp_path / "new", (1, 2), (2, 2)) == (2, "")


def test_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError):
        with folder_lock(tmp_path, "a test"):
            raise KeyError
    with hold_folder(tmp_path, None, lambda: pytest.fail("it was not freed")):
        pass


@pytest.mark.parametrize("shard", [(0, 4), (5, 4), (-1, 4)])
def test_no_such_shard(shard):
    with pytest.raises(ValueError, match="the first of four is 1 of 4"):
        in_shard("piece", shard)


def test_every_name_is_in_one_shard():
    shards = [(i, 7) for i in range(1, 8)]
    for name in ("", "a", "prélude", "\udc80", "x" * 999):
        assert sum(in_shard(name, shard) for shard in shards) == 1 and in_shard(name)


@pytest.mark.parametrize("content, records", [
    (b"", []), (b"\r\n , \n\n", []), (b"\xef\xbb\xbfa,b\r\n", [(1, ["a", "b"])]),
    (b'"a\nb",c\n\nd\n', [(1, ["a\nb", "c"]), (4, ["d"])]), (b" a ,b", [(1, ["a", "b"])])])
def test_rows_and_their_lines(tmp_path, content, records):
    (tmp_path / "t.csv").write_bytes(content)
    assert csv_records(tmp_path / "t.csv") == records


@pytest.mark.parametrize("content, message", [
    (b"a\n\xff", "row 2: not UTF-8"), ("a,b\n".encode("utf-16"), "row 1: not UTF-8"),
    (b'a\n\nb,"c\n', "row 3: not readable as CSV"), (b'"a"b\n', "row 1: not readable as CSV")])
def test_unreadable_table_is_refused_with_its_row(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"t.csv, {message}"):
        csv_records(tmp_path / "t.csv")


def test_table_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        csv_records(tmp_path / "t.csv")
