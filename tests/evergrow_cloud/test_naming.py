"""What features are called: learnt from what was offered, once a device uses it."""

import cbor2
import pytest
from scripted_device import envelope

from evergrow_cloud import devices, naming, offers, wire
from evergrow_cloud.store import Store

BODY = cbor2.dumps({0: 2, 1: 1001, 2: "allergen-care", 3: "1.0.0"})
OUTER = cbor2.dumps(cbor2.CBORTag(107, {3: b"manifest"}))


def names_after(store: Store, outer: bytes, payloads: dict[int, bytes], state: int = offers.CONFIRMED) -> naming.Names:
    with store.transaction():
        device_id = devices.ensure(store, "acme", "washer-1")
    transfer = offers.offer(store, "acme", "washer-1", outer, payloads)
    raw = envelope(7, 1, {0: transfer, 1: 0 if state == offers.CONFIRMED else 10, 2: state, 3: [2, 1001, 1]})
    with store.transaction():
        offers.report(store, device_id, wire.decode("feat", raw), raw)  # type: ignore[arg-type]
    return naming.of_device(store, device_id)


def test_a_name_is_in_a_payload_or_inside_the_envelope(store: Store) -> None:
    assert names_after(store, OUTER, {1: b"\xff patch", 2: BODY}) == {(2, 1001): "allergen-care"}
    inside = cbor2.dumps(cbor2.CBORTag(107, {3: b"manifest", "#feature": BODY.replace(b"allergen", b"ALLERGEN")}))
    assert names_after(store, inside, {}) == {(2, 1001): "ALLERGEN-care"}


@pytest.mark.parametrize("body", [b"", b"\x00", cbor2.dumps({1: 1002, 2: "another"}), cbor2.dumps({1: 1001, 2: 7})])
def test_what_is_no_body_of_that_feature_names_nothing(store: Store, body: bytes) -> None:
    assert names_after(store, OUTER, {1: body}) == {}


def test_a_refused_feature_names_nothing(store: Store) -> None:
    assert names_after(store, OUTER, {1: BODY}, offers.REFUSED) == {}
