"""In which forms code can run here: the slots of a manifest's component-slot condition (EG-SUIT-006)."""

import sys

SOURCE = 0  # Python source; slot N is MicroPython's byte code of version N, without machine code

_BYTE_CODE = getattr(sys.implementation, "_mpy", 0) & 0xFF  # 6 for MicroPython 1.19 and later


def loads(slot: int) -> bool:
    """Whether this interpreter can load what is built for `slot`."""
    return slot == _BYTE_CODE if slot else _can_compile()


def _can_compile() -> bool:
    try:
        exec("")  # built without a compiler, MicroPython has it all the same, and it fails
        return True
    except (NameError, SyntaxError, NotImplementedError, RuntimeError):
        return False
