"""Helpers for the tests that run on both interpreters. Portable itself."""


def raises(exc_type, fn, *args):
    """Call `fn(*args)`; it must raise `exc_type`. Returns the exception for a look at its attributes."""
    try:
        result = fn(*args)
    except exc_type as exc:
        return exc
    raise AssertionError(f"expected {exc_type.__name__}, got the result {result!r}")


async def raises_async(exc_type, awaitable):
    """Await `awaitable`; it must raise `exc_type`. Returns the exception for a look at its attributes."""
    try:
        result = await awaitable
    except exc_type as exc:
        return exc
    raise AssertionError(f"expected {exc_type.__name__}, got the result {result!r}")
