"""Grants and revocation lists (SPEC section 12): the newest of each tenant is kept, and offered to every device that is behind.

What a device has it says in its birth (EG-TRUST-014). The cloud takes a document as it is: to judge it is the device's part, and
one that a device has refused is not offered to it again.
"""

from dataclasses import dataclass
from typing import Any

import cbor2

from evergrow_cloud import devices, offers
from evergrow_cloud.errors import CloudError, WireError
from evergrow_cloud.messages import Birth
from evergrow_cloud.store import Store
from evergrow_protocol import errors as codes
from evergrow_protocol import topics

GRANT, REVOCATIONS = offers.GRANT, offers.REVOCATIONS
MAX_BYTES = 8192

_TAG_SIGN1 = 18
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Document:
    """`content`: GRANT, of `publisher`, or REVOCATIONS, whose publisher is 0."""

    content: int
    publisher: int
    sequence: int
    data: bytes


def read(data: bytes) -> Document:
    """What a signed file says it is; nothing is verified. Raises CloudError."""
    if len(data) > MAX_BYTES:
        raise WireError(codes.TOO_LARGE, f"{len(data)} bytes, {MAX_BYTES} at most")
    try:
        signed = cbor2.loads(data)
        value: Any = signed.value if isinstance(signed, cbor2.CBORTag) and signed.tag == _TAG_SIGN1 else signed
        fields = cbor2.loads(value[2])
        content = fields[0]
        publisher, sequence = (fields[1], fields[2]) if content == GRANT else (0, fields[1])
        if content not in (GRANT, REVOCATIONS) or type(publisher) is not int or type(sequence) is not int:
            raise ValueError
    except Exception:  # cbor2 raises much for what is no such file
        raise CloudError("neither a grant nor a revocation list: `evergrow key grant` makes one", codes.MALFORMED) from None
    return Document(content, publisher, sequence, data)


def put(store: Store, tenant: str, document: Document) -> int:
    """Keep it for all devices of a tenant, and offer it to those that are behind. Returns to how many.

    Raises CloudError 9 when the tenant has a newer one, or another one of that sequence.
    """
    topics.check_id(tenant)
    with store.transaction():
        newest = store.row(
            "SELECT sequence, data FROM trust WHERE tenant = ? AND content = ? AND publisher = ?",
            tenant,
            document.content,
            document.publisher,
        )
        if newest is not None and newest != (document.sequence, document.data) and document.sequence <= newest[0]:
            raise CloudError(f"sequence {document.sequence} does not follow {newest[0]}, which {tenant} has", codes.STALE)
        store.execute(
            "INSERT INTO trust VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET sequence = excluded.sequence, data = excluded.data",
            tenant,
            document.content,
            document.publisher,
            document.sequence,
            document.data,
        )
    after = count = 0
    while page := devices.every(store, after, _PAGE):
        after = page[-1].id
        with store.transaction():  # of few devices: whoever commits usage meanwhile does not wait; birth offers it in any case
            for device in page:
                if device.tenant == tenant and device.birth is not None:
                    count += _offer(store, tenant, device.device, device.birth, document)
    return count


def born(store: Store, tenant: str, device: str, birth: Birth) -> None:
    """Offer what the device is behind with."""
    if birth.grants is None:
        return
    rows = store.rows("SELECT content, publisher, sequence, data FROM trust WHERE tenant = ? ORDER BY content DESC", tenant)
    for row in rows:  # revocations first
        _offer(store, tenant, device, birth, Document(*row))


def of_tenant(store: Store, tenant: str) -> list[Document]:
    """The newest of each kind and publisher."""
    rows = store.rows("SELECT content, publisher, sequence, data FROM trust WHERE tenant = ? ORDER BY content, publisher", tenant)
    return [Document(*row) for row in rows]


def _offer(store: Store, tenant: str, device: str, birth: Birth, document: Document) -> bool:
    if birth.grants is None:
        return False  # it has no root key
    known = dict(birth.grants).get(document.publisher, -1) if document.content == GRANT else birth.revocations or 0
    if known >= document.sequence or offers.refused(store, tenant, device, document.data):
        return False
    offers.offer(store, tenant, device, document.data, {}, document.content)
    return True
