"""How a feature is named on a command line: PUBLISHER/FEATURE, two numbers, as tables and records show it."""

import re

from evergrow_cloud.errors import CloudError
from evergrow_protocol import errors as codes

FORM = "PUBLISHER/FEATURE"
MAX_ID = 0xFFFF


def parse(text: str) -> tuple[int, int]:
    """The numbers of publisher and feature; a colon between them is taken, too. CloudError 5."""
    match = re.fullmatch(r"([0-9]{1,5})[/:]([0-9]{1,5})", text)
    publisher, feature = (int(match[1]), int(match[2])) if match else (0, 0)
    if publisher > MAX_ID or not 0 < feature <= MAX_ID:
        raise CloudError(f"{text!r} is not {FORM}, two numbers to {MAX_ID}, for example 2/1001", codes.OUT_OF_RANGE)
    return publisher, feature
