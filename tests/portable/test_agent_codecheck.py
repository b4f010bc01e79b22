"""Code is looked through before it is run: byte code on MicroPython, source on the host."""

import samplefeature
from evergrow_agent import codecheck, codeload
from evergrow_agent.mpyscan import Scan
from evergrow_protocol.errors import MALFORMED, NOT_AUTHORISED, TOO_LARGE, UNSUPPORTED, ProtocolError
from support import raises_code

try:
    import ast
except ImportError:
    ast = None

HEAP = "512K"


def code():
    with open(samplefeature.__file__, "rb") as file:
        return file.read()


def test_the_sample_may_run_and_is_left_alone_by_what_it_is_not():
    """EG-CODE-003"""
    space = codeload.load("feature_2_1001", code())
    assert space["__name__"] == "feature_2_1001" and "start" in space


def test_byte_code_cut_short_or_changed_anywhere_is_refused_or_read_but_never_hangs():
    """EG-CODE-003, EG-ENC-004"""
    data = code()
    if data[:1] != b"M":
        return  # the host's form is source
    scan = Scan(data)
    assert scan.imports == ["math"] and "Sense" in scan.names
    for end in range(len(data)):
        try:
            Scan(data[:end])
        except ProtocolError as exc:
            assert exc.code in (MALFORMED, TOO_LARGE, UNSUPPORTED)
        else:
            raise AssertionError(f"{end} bytes of {len(data)} are no module")
    for at in range(len(data)):
        for bit in (0, 3, 7):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            try:
                Scan(changed)
            except ProtocolError as exc:
                assert exc.code in (MALFORMED, TOO_LARGE, UNSUPPORTED), (at, bit)


def test_machine_code_and_other_versions_are_refused():
    """EG-CODE-003"""
    raises_code(UNSUPPORTED, Scan, b"M\x05\x00\x1f\x00\x00")
    raises_code(UNSUPPORTED, Scan, b"M\x06\x08\x1f\x00\x00")
    raises_code(MALFORMED, Scan, b"M\x06")
    raises_code(UNSUPPORTED, Scan, b"M\x06\x00\x1f\x00\x00\x09")


def test_an_import_that_is_not_allowed_is_refused():
    """EG-CODE-003"""
    if ast is None:
        return
    for text in ("import os", "from sys import path", "import os.path as p", "from . import x", "import time as t"):
        raises_code(NOT_AUTHORISED, codecheck.check_source, text)
    codecheck.check_source("import math\nfrom math import floor")


def test_names_that_lead_out_of_the_api_are_refused():
    """EG-CODE-003"""
    if ast is None:
        return
    for text in (
        "eval('1')",
        "x = (1).__class__",
        "getattr(api, 'read')",
        "def f(open): pass",
        "x = 'globals'",
        "class A:\n  def __del__(self): pass",
        "def f():\n  global sys",
    ):
        raises_code(NOT_AUTHORISED, codecheck.check_source, text)
    codecheck.check_source("class A:\n  def __init__(self):\n    self.x = 'open the door'")


def test_source_that_is_none_is_refused():
    if ast is None:
        raises_code(UNSUPPORTED, codecheck.check_source, "x = 1")
    else:
        raises_code(UNSUPPORTED, codecheck.check_source, "def")
