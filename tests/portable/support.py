"""Helpers for the tests that run on both interpreters. Portable itself."""

from evergrow_protocol.errors import ProtocolError


def raises(exc_type, fn, *args):
    """Call `fn(*args)`; it must raise `exc_type`. Returns the exception for a look at its attributes."""
    try:
        result = fn(*args)
    except exc_type as exc:
        return exc
    raise AssertionError(f"expected {exc_type.__name__}, got the result {result!r}")


def raises_code(code, fn, *args):
    """Call `fn(*args)`; it must raise a ProtocolError with this code."""
    exc = raises(ProtocolError, fn, *args)
    assert exc.code == code, (exc.code, exc.text)


def finish(steps):
    """What a generator of steps returns."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


async def raises_async(exc_type, awaitable):
    """Await `awaitable`; it must raise `exc_type`. Returns the exception for a look at its attributes."""
    try:
        result = await awaitable
    except exc_type as exc:
        return exc
    raise AssertionError(f"expected {exc_type.__name__}, got the result {result!r}")
