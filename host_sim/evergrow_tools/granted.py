"""Whether a feature stays within a grant, judged by the modules that judge it on a device."""

from pathlib import Path
from tempfile import TemporaryDirectory

from evergrow_agent import checked
from evergrow_agent.fsflash import FsFlash
from evergrow_agent.grants import PREFIX, Grants
from evergrow_protocol import feature, feature_code
from evergrow_protocol.cose import Key
from evergrow_protocol.errors import NOT_AUTHORISED, TOO_LARGE, ProtocolError
from evergrow_protocol.grant import parse_grant
from evergrow_tools import programmes, suit_inspect, trust_build
from evergrow_tools.feature_files import Built


def check(built: Built, key: Key, signed: bytes) -> None:
    """Hold what `key` has signed against a signed grant, as `evergrow key grant` made it; who signed that is not looked at.

    Raises ProtocolError as a device does: 10 beyond its rights, 8 beyond its quota, and what `parse_grant` raises.
    """
    payload = trust_build.payload_of(signed)
    grant = parse_grant(payload)
    if (grant.key.kid, grant.key.prefix) != (key.kid, key.prefix):
        raise ProtocolError(NOT_AUTHORISED, f"the grant is for another key, of publisher {grant.publisher}")
    with TemporaryDirectory() as folder:
        flash = FsFlash(str(Path(folder)))
        checked.save(flash, f"{PREFIX}{grant.publisher}", payload)
        grants = Grants(flash)
    for data in suit_inspect.bodies(built):
        if len(data) > grant.flash_bytes:
            raise ProtocolError(TOO_LARGE, f"{len(data)} bytes go beyond the publisher's quota, {grant.flash_bytes}")
        body = feature.parse(data)
        grants.check_unlocks(grant.publisher, body.unlocks)
        if body.needs is not None:
            grants.check_needs(grant.publisher, feature_code.parse(body.needs))
        if body.programme is not None:
            grants.check_programme(grant.publisher, programmes.read(body.programme))
