import os

from evergrow_agent.fsflash import FsFlash
from support import raises


class Folder:
    """A new directory of the real file system, removed at the end."""

    def __enter__(self):
        parent = os.getenv("TMPDIR") or "/tmp"
        self.path = f"{parent}/evergrow-{os.urandom(8).hex()}"
        return self

    def __exit__(self, *_):
        for name in os.listdir(self.path):
            os.remove(f"{self.path}/{name}")
        os.rmdir(self.path)

    def put(self, name, data):
        with open(f"{self.path}/{name}", "wb") as file:
            file.write(data)

    def get(self, name):
        with open(f"{self.path}/{name}", "rb") as file:
            return file.read()


def test_the_directory_is_made_if_it_is_not_there():
    with Folder() as folder:
        assert FsFlash(folder.path).names() == []
        assert FsFlash(folder.path + "/").names() == []


def test_what_was_written_is_read_back():
    with Folder() as folder:
        flash = FsFlash(folder.path)
        for data in (b"", b"abc", bytes(10000), bytearray(b"xy"), memoryview(b"view")):
            flash.write("a.1-b_c", data)
            assert flash.read("a.1-b_c") == bytes(data)
            assert flash.size("a.1-b_c") == len(data)
        assert folder.get("a.1-b_c") == b"view"
        assert flash.names() == ["a.1-b_c"]


def test_what_is_absent_reads_as_none_and_has_no_size():
    with Folder() as folder:
        flash = FsFlash(folder.path)
        assert flash.read("a") is None
        assert flash.size("a") == -1
        raises(OSError, flash.readinto, "a", 0, bytearray(4))
        flash.remove("a")


def test_append_adds_to_the_end():
    with Folder() as folder:
        flash = FsFlash(folder.path)
        flash.append("a", b"one")
        flash.append("a", memoryview(b"two"))
        assert flash.read("a") == b"onetwo"
        assert flash.size("a") == 6


def test_readinto_fills_the_buffer_from_an_offset():
    with Folder() as folder:
        flash = FsFlash(folder.path)
        flash.write("a", b"0123456789")
        buf = bytearray(4)
        assert flash.readinto("a", 3, buf) == 4 and buf == b"3456"
        assert flash.readinto("a", 8, memoryview(buf)) == 2 and buf == b"8956"
        assert flash.readinto("a", 10, buf) == 0
        assert flash.readinto("a", 99, buf) == 0


def test_rename_replaces_and_remove_removes():
    with Folder() as folder:
        flash = FsFlash(folder.path)
        flash.write("a", b"new")
        flash.write("b", b"old")
        flash.rename("a", "b")
        assert flash.names() == ["b"] and flash.read("b") == b"new"
        flash.remove("b")
        assert flash.names() == []
        raises(OSError, flash.rename, "a", "b")


def test_what_an_interrupted_write_left_is_removed_at_start_and_the_old_content_stays():
    with Folder() as folder:
        flash = FsFlash(folder.path)
        flash.write("a", b"old")
        folder.put("a.tmp", b"ne")
        flash = FsFlash(folder.path)
        assert flash.read("a") == b"old"
        assert os.listdir(folder.path) == ["a"]


def test_other_names_are_refused():
    with Folder() as folder:
        flash = FsFlash(folder.path)
        for name in ("", ".", "..", ".a", "a/b", "A", "a b", "a" * 33, "a.tmp", "ä", "a\x00"):
            for use in (flash.read, flash.size, flash.remove):
                raises(ValueError, use, name)
            raises(ValueError, flash.write, name, b"")
            raises(ValueError, flash.append, name, b"")
            raises(ValueError, flash.rename, "a", name)
        flash.write("a" * 32, b"")


def test_there_is_room():
    with Folder() as folder:
        assert FsFlash(folder.path).free() > 0


def test_a_directory_that_cannot_be_made_shows_at_the_first_write():
    with Folder() as folder:
        FsFlash(folder.path)
        folder.put("file", b"")
        flash = FsFlash(folder.path + "/file")
        raises(OSError, flash.write, "a", b"")
        raises(OSError, flash.append, "a", b"")
        raises(OSError, flash.names)
