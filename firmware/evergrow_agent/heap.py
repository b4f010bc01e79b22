"""The interpreter's heap, where it is bounded and nothing in it ever moves (MicroPython).

What is made there lies at the lowest hole that was found since the last collection. So whatever stays for long is made right
after a `collect`: it then takes a hole among what is old. Made amid what only passes, it would split for ever the free memory
that the next connection or body needs in one piece.
"""

import gc


def collect() -> None:
    """To be called before something is made that stays. Nothing where the heap grows as needed: there it only takes time."""
    if hasattr(gc, "mem_free"):
        gc.collect()


def free() -> "int | None":
    """Bytes, after a collection; None where there is no bound."""
    collect()
    return gc.mem_free() if hasattr(gc, "mem_free") else None


def used() -> int:
    """Bytes, after a collection; 0 where there is no bound."""
    collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0
