"""Turns the code of a feature into functions: byte code on MicroPython, source where there is a compiler and a look at it.

MicroPython imports byte code only from a file; so one file of a file system of our own is mounted for as long as an import takes.
The module is not in `sys.modules` afterwards, and is gone when nobody holds it.
"""

import io
import sys

from evergrow_agent import codecheck
from evergrow_protocol.errors import MALFORMED, UNSUPPORTED, ProtocolError

try:
    import vfs
except ImportError:  # CPython
    vfs = None  # type: ignore[assignment,unused-ignore]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Buffer = bytes | bytearray | memoryview

_MOUNT = "/feature"
_MAGIC = 0x4D  # "M", the first byte of a .mpy


def check(code: "Buffer") -> None:
    """Look the code through. ProtocolError: NOT_AUTHORISED, UNSUPPORTED, MALFORMED, TOO_LARGE."""
    if code[0] == _MAGIC:
        if vfs is None:
            raise ProtocolError(UNSUPPORTED, "byte code needs MicroPython")
        codecheck.check_byte_code(code)
    else:
        codecheck.check_source(_text(code))


def load(name: str, code: "Buffer") -> "dict[str, Any]":
    """Run the module's top level; returns its globals. `name`: an identifier, for tracebacks.

    ProtocolError: NOT_AUTHORISED, UNSUPPORTED, MALFORMED, TOO_LARGE, before any of it is run. Anything that the code raises.
    """
    check(code)
    if code[0] == _MAGIC:
        return _import(name, code)
    space: "dict[str, Any]" = {"__name__": name}
    exec(compile(_text(code), name + ".py", "exec"), space)
    return space


def _text(code: "Buffer") -> str:
    try:
        return bytes(code).decode()
    except ValueError:
        raise ProtocolError(MALFORMED, "source that is no UTF-8")


def _import(name: str, code: "Buffer") -> "dict[str, Any]":
    vfs.mount(_OneFile(name + ".mpy", code), _MOUNT)
    sys.path.insert(0, _MOUNT)
    try:
        module = __import__(name)
    finally:
        sys.path.remove(_MOUNT)
        vfs.umount(_MOUNT)
        sys.modules.pop(name, None)
    return module.__dict__


class _OneFile:
    """What MicroPython's VFS asks of a file system."""

    def __init__(self, name: str, data: "Buffer") -> None:
        self._name = name
        self._data = data

    def mount(self, readonly: bool, mkfs: bool) -> None:
        pass

    def umount(self) -> None:
        pass

    def stat(self, path: str) -> "tuple[int, ...]":
        if path.strip("/") != self._name:
            raise OSError(2)
        return (0x8000, 0, 0, 0, 0, 0, len(self._data), 0, 0, 0)

    def open(self, path: str, mode: str) -> "_Bytes":
        return _Bytes(self._data)


class _Bytes(io.IOBase):
    def __init__(self, data: "Buffer") -> None:
        self._data = memoryview(data)
        self._at = 0

    def readinto(self, buf: "bytearray | memoryview") -> int:
        size = min(len(buf), len(self._data) - self._at)
        buf[:size] = self._data[self._at : self._at + size]
        self._at += size
        return size

    def ioctl(self, request: int, argument: int) -> int:
        return 0
