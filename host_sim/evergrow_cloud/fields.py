"""Checks of single fields of a decoded item. Each raises WireError: 1 missing, 4 type, 5 range, 6 critical, 8 too large."""

from collections.abc import Iterable
from typing import Any

from evergrow_cloud import strict
from evergrow_cloud.errors import WireError
from evergrow_protocol import errors as codes

MAX_UINT32 = 2**32 - 1


def array(value: Any, least: int, what: str, most: int = strict.MAX_ITEMS) -> list[Any]:
    if not isinstance(value, list):
        raise WireError(codes.BAD_TYPE, f"{what} is an array")
    if len(value) < least:
        raise WireError(codes.MALFORMED, f"{what} has {len(value)} elements, {least} at least")
    if len(value) > most:
        raise WireError(codes.TOO_LARGE, f"{what} has {len(value)} elements, {most} at most")
    return value


def mapping(value: Any, what: str, known: Iterable[int] = ()) -> dict[int, Any]:
    if not isinstance(value, dict):
        raise WireError(codes.BAD_TYPE, f"{what} is a map")
    for key in value:
        if key < 0 and key not in known:
            raise WireError(codes.UNSUPPORTED, f"{what}: critical key {key} is not known")
    return value


def need(fields: dict[int, Any], key: int, what: str) -> Any:
    if key not in fields:
        raise WireError(codes.MALFORMED, f"{what} (key {key}) is missing")
    return fields[key]


def maybe(fields: dict[int, Any], key: int, what: str, most: int = strict.MAX_INT) -> int | None:
    return uint(fields[key], what, most) if key in fields else None


def uint(value: Any, what: str, most: int = strict.MAX_INT, least: int = 0) -> int:
    return integer(value, what, least, most)


def integer(value: Any, what: str, least: int, most: int) -> int:
    if type(value) is not int:  # bool is an int to Python, not to CBOR
        raise WireError(codes.BAD_TYPE, f"{what} is an integer")
    if not least <= value <= most:
        raise WireError(codes.OUT_OF_RANGE, f"{what} is {value}, not within {least}..{most}")
    return value


def text(value: Any, what: str, most: int) -> str:
    if not isinstance(value, str):
        raise WireError(codes.BAD_TYPE, f"{what} is text")
    if len(value.encode()) > most:
        raise WireError(codes.TOO_LARGE, f"{what} has {len(value.encode())} bytes, {most} at most")
    return value
