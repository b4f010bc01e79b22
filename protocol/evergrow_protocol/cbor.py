"""Deterministic CBOR (RFC 8949), bounded in everything that a sender controls: the names to import.

How CBOR and Python types meet:

| CBOR                   | Python              | remark                                                                         |
|------------------------|---------------------|--------------------------------------------------------------------------------|
| integer, major 0 and 1 | `int`               | -2**64 .. 2**64-1; bignums stay `Tag(2, ...)` and `Tag(3, ...)`                |
| byte string            | `bytes`             | or a `memoryview` of the input when asked (`copy=False`, `read_bytes`)         |
| text string            | `str`               | UTF-8 is checked, also where the interpreter is lax                            |
| array                  | `list`              | tuples encode as arrays                                                        |
| map                    | `dict`              | keys are integers, byte strings or text: what a `dict` can tell apart          |
| tag                    | `Tag`               | never interpreted                                                              |
| false, true, null      | `False, True, None` |                                                                                |
| float                  | `float`             | none on our wire; encoded in the shortest form; single precision may round     |
| other simple values    |                     | `undefined` too: refused with BAD_TYPE, and stepped over by `skip`             |
"""

from .cbor_decode import ARRAY as ARRAY
from .cbor_decode import BYTES as BYTES
from .cbor_decode import MAP as MAP
from .cbor_decode import NINT as NINT
from .cbor_decode import OTHER as OTHER
from .cbor_decode import TAG as TAG
from .cbor_decode import TEXT as TEXT
from .cbor_decode import UINT as UINT
from .cbor_decode import Decoder as Decoder
from .cbor_decode import loads as loads
from .cbor_encode import Encoder as Encoder
from .cbor_encode import dumps as dumps
from .cbor_encode import put_uint as put_uint
from .cbor_types import BufferFull as BufferFull
from .cbor_types import CborError as CborError
from .cbor_types import Tag as Tag
