"""The flash port over a directory of a real file system: LittleFS on a board, any POSIX directory on a host.

Names are flat, `[a-z0-9._-]{1,32}`; `.tmp` at the end is the port's own. Every method but the constructor may raise OSError.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview

NAME_MAX = 32

_TMP = ".tmp"
_NOT_FOUND = 2  # ENOENT
_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789._-"

# LittleFS makes data durable when the file is closed and a rename when it returns. Other file systems need to be told.
_fsync = getattr(os, "fsync", None)
_open = getattr(os, "open", None)
_close = getattr(os, "close", None)
_replace = getattr(os, "replace", os.rename)  # The rename of MicroPython's file systems replaces already.


class FsFlash:
    """Files below `root`, which is made if it is not there. What an interrupted `write` left behind is removed at once."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")
        try:
            os.mkdir(root)
        except OSError:
            pass  # It is there; if it is not, the first access says so.
        # A rename that lost power half-way can hide an unrelated file of a LittleFS2 from us until something is about to change.
        # Removing what cannot be removed is such a moment: it fails, but what was left undone is completed first.
        try:
            os.remove(f"{self._root}/.")
        except OSError:
            pass
        try:
            for name in os.listdir(root):
                if name.endswith(_TMP):
                    os.remove(f"{self._root}/{name}")
        except OSError:
            pass  # A file that cannot be removed costs room, nothing else.

    def _path(self, name: str) -> str:
        if not 1 <= len(name) <= NAME_MAX or name[0] == "." or name.endswith(_TMP) or any(c not in _CHARS for c in name):
            raise ValueError(f"not a flash name: {name!r}")
        return f"{self._root}/{name}"

    def read(self, name: str) -> "bytes | None":
        """Whole content, or None when absent."""
        path = self._path(name)
        try:
            with open(path, "rb") as file:
                data: bytes = file.read()
                return data
        except OSError as exc:
            if exc.errno == _NOT_FOUND:
                return None
            raise

    def readinto(self, name: str, offset: int, buf: "bytearray | memoryview") -> int:
        """Fill `buf` from byte `offset` on; returns the number of bytes read, less than asked only at the end of the file."""
        with open(self._path(name), "rb") as file:
            file.seek(offset)
            return file.readinto(buf) or 0

    def write(self, name: str, data: "Buffer") -> None:
        """Replace the content: durable on return, and after a power cut either the old or the new, whole."""
        path = self._path(name)
        tmp = path + _TMP
        self._store(tmp, "wb", data)
        _replace(tmp, path)
        self._sync_directory()

    def append(self, name: str, data: "Buffer") -> None:
        """Add to the end: durable on return; a power cut may leave a prefix of `data`."""
        path = self._path(name)
        new = self.size(name) < 0
        self._store(path, "ab", data)
        if new:
            self._sync_directory()

    def size(self, name: str) -> int:
        """Bytes, or -1 when absent."""
        path = self._path(name)
        try:
            return int(os.stat(path)[6])
        except OSError as exc:
            if exc.errno == _NOT_FOUND:
                return -1
            raise

    def remove(self, name: str) -> None:
        path = self._path(name)
        try:
            os.remove(path)
        except OSError as exc:
            if exc.errno != _NOT_FOUND:
                raise
        self._sync_directory()

    def rename(self, old: str, new: str) -> None:
        """Give `old` the name `new`, replacing what had it, atomically."""
        _replace(self._path(old), self._path(new))
        self._sync_directory()

    def names(self) -> "list[str]":
        return [name for name in os.listdir(self._root or "/") if not name.endswith(_TMP)]

    def free(self) -> int:
        """Bytes that can still be written."""
        stat: Any = os.statvfs(self._root or "/")
        return int(stat[1] * stat[4])  # f_frsize * f_bavail

    def _store(self, path: str, mode: str, data: "Buffer") -> None:
        with open(path, mode) as file:
            file.write(data)
            file.flush()
            if _fsync:
                _fsync(file.fileno())

    def _sync_directory(self) -> None:
        if _fsync and _open and _close:
            handle = _open(self._root or "/", 0)  # O_RDONLY
            try:
                _fsync(handle)
            finally:
                _close(handle)
