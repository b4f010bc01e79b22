"""A code feature as a publisher makes it, and what its grant has to allow."""

import samplefeature
from evergrow_protocol.cbor import dumps
from tinyappliance import DRUM, LEVEL, RPM

METER = 1008
HEAP_BYTES = 16384
RIGHTS = {"k9": [METER], "k10": 65536, "k11": HEAP_BYTES}


def sense(feature=1001, entitlement=0, needs=None, version="1.0"):
    """The sample: it counts in its meter, reads two signals, and turns the drum 5 s after it was started."""
    with open(samplefeature.__file__, "rb") as file:
        code = file.read()
    declared = {0: [LEVEL, RPM], 1: [DRUM], 2: [METER], 3: [1007], 4: {1: [0, 2000, 500]}, 5: HEAP_BYTES, 6: 50}
    declared.update(needs or {})
    return dumps({0: 3, 1: feature, 2: "sense", 3: version, 10: declared, 11: code, 12: entitlement})
