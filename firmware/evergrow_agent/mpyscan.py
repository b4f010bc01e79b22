"""What a compiled module (`.mpy`, version 6) says before it is run: which modules it imports, and which names it has.

The format is MicroPython's (py/persistentcode.c, py/bc0.h). A file with machine code is refused: nobody can look into it.

    header      'M' | version | flags | bits of a small integer | number of qstrs | of constants
    qstr        length << 1 | text | 0, or 1 + number << 1 of one that the interpreter has anyway
    constant    type | what depends on it
    code        length << 3 | has children << 2 | kind, then the byte code, then the number of children and these
"""

from evergrow_protocol.errors import MALFORMED, TOO_LARGE, UNSUPPORTED, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

VERSION = 6
_DEPTH_MAX = 8  # of functions within functions
_NAMES_MAX = 512
_CODES_MAX = 512

_IMPORT_NAME = 0x1B
_IMPORT_STAR = 0x69
# py/bc0.h: two bits for each sixteen operations say what follows: nothing, a qstr, an integer, an offset.
_FORMATS = 0x000003A4
_QSTR, _VARUINT, _OFFSET = 1, 2, 3
_EXTRA_BYTE_MASK = 0x9E  # one more byte follows where none of these bits is set

# Types of constants, as mpy-cross writes them.
_OBJECT_FUN_TABLE, _OBJECT_NONE, _OBJECT_FALSE, _OBJECT_TRUE, _OBJECT_ELLIPSIS = 0, 1, 2, 3, 4
_OBJECT_STR, _OBJECT_BYTES, _OBJECT_TUPLE = 5, 6, 10


class Scan:
    """Reads all of `data`. `imports`: the modules that it imports, "" for one whose name the interpreter has anyway; `names`:
    every name in it that the interpreter has not; `known`: the numbers of those that it has, which belong to the version.

    Raises ProtocolError: MALFORMED for what is no such file, UNSUPPORTED for another version or machine code, TOO_LARGE.
    """

    def __init__(self, data: "Buffer") -> None:
        self.imports: "list[str]" = []
        self.names: "list[str]" = []
        self.known: "list[int]" = []
        self._data = memoryview(data)
        self._at = 0
        self._codes = 0
        self._all: "list[str]" = []
        try:
            self._read()
        except IndexError:
            raise ProtocolError(MALFORMED, "byte code that ends too early", self._at)

    def _read(self) -> None:
        data = self._data
        if data[0] != 0x4D or data[1] != VERSION:
            raise ProtocolError(UNSUPPORTED, f"byte code of version {data[1]}, not {VERSION}", 1)
        if data[2]:
            raise ProtocolError(UNSUPPORTED, "machine code", 2)
        self._at = 4
        qstrs, constants = self._uint(), self._uint()
        if qstrs > _NAMES_MAX or constants > _NAMES_MAX:
            raise ProtocolError(TOO_LARGE, f"{qstrs} names and {constants} constants, limit {_NAMES_MAX}", 4)
        for _ in range(qstrs):
            self._qstr()
        for _ in range(constants):
            self._constant(0)
        self._code(0)
        if self._at != len(data):
            raise ProtocolError(MALFORMED, "bytes behind the code", self._at)

    def _uint(self) -> int:
        value = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value = value << 7 | byte & 0x7F
            if value >> 32:
                raise ProtocolError(MALFORMED, "an integer of more than 32 bits", self._at)
            if not byte & 0x80:
                return value

    def _text(self, size: int) -> str:
        end = self._at + size
        if end > len(self._data):
            raise IndexError
        text = bytes(self._data[self._at : end])
        self._at = end
        try:
            return text.decode()
        except (UnicodeError, ValueError):
            raise ProtocolError(MALFORMED, "a name that is no UTF-8", self._at)

    def _qstr(self) -> None:
        head = self._uint()
        if head & 1:
            self._all.append("")
            self.known.append(head >> 1)
            return
        name = self._text(head >> 1)
        self._at += 1  # the 0 behind it
        self._all.append(name)
        self.names.append(name)

    def _constant(self, depth: int) -> None:
        kind = self._data[self._at]
        self._at += 1
        if kind <= _OBJECT_ELLIPSIS:
            return
        size = self._uint()
        if kind == _OBJECT_TUPLE:
            if depth >= _DEPTH_MAX or size > _NAMES_MAX:
                raise ProtocolError(TOO_LARGE, "a constant that is too deep or too long", self._at)
            for _ in range(size):
                self._constant(depth + 1)
            return
        if self._at + size > len(self._data):
            raise IndexError
        if kind == _OBJECT_STR:
            self.names.append(self._text(size))  # `getattr(x, "name")` is a name, too
        else:
            self._at += size
        if kind in (_OBJECT_STR, _OBJECT_BYTES):
            self._at += 1  # the 0 behind it

    def _code(self, depth: int) -> None:
        head = self._uint()
        self._codes += 1
        if head & 3:
            raise ProtocolError(UNSUPPORTED, "machine code", self._at)
        if depth >= _DEPTH_MAX or self._codes > _CODES_MAX:
            raise ProtocolError(TOO_LARGE, f"over {_CODES_MAX} functions, or {_DEPTH_MAX} within each other", self._at)
        end = self._at + (head >> 3)
        if end > len(self._data):
            raise IndexError
        self._operations(end)
        self._at = end
        if head & 4:
            for _ in range(self._uint()):
                self._code(depth + 1)

    def _skip(self) -> None:
        while self._data[self._at] & 0x80:
            self._at += 1
        self._at += 1

    def _body(self) -> int:
        """Read the sizes at the head of a function, behind its signature; where its operations begin."""
        info = cells = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            cells |= (byte & 1) << shift
            info |= (byte >> 1 & 0x3F) << 6 * shift
            shift += 1
            if not byte & 0x80:
                return self._at + info + cells

    def _operations(self, end: int) -> None:
        data = self._data
        self._skip()  # the signature
        self._at = self._body()
        if self._at > end:
            raise ProtocolError(MALFORMED, "a function whose head is longer than itself", self._at)
        while self._at < end:
            operation = data[self._at]
            self._at += 1
            kind = _FORMATS >> 2 * (operation >> 4) & 3
            if kind == _QSTR:
                number = self._uint()
                if operation == _IMPORT_NAME:
                    self.imports.append(self._all[number])
                continue
            if kind == _VARUINT:
                self._skip()
            elif kind == _OFFSET:
                self._at += 2 if data[self._at] & 0x80 else 1
            if not operation & _EXTRA_BYTE_MASK:
                self._at += 1
            if operation == _IMPORT_STAR:
                self.imports.append("*")
        if self._at != end:
            raise ProtocolError(MALFORMED, "a function that ends within an operation", self._at)
