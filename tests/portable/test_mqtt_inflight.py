from evergrow_mqtt.inflight import AGAIN, DONE, QUEUED, SENT, Ring
from mqttworld import SeededRandom

QOS1 = 2
NO_EXPIRY = 0xFFFFFFFF


def put(ring, packet_id, payload, topic=b"t", flags=QOS1):
    return ring.put(topic, payload, packet_id, flags, NO_EXPIRY)


def contents(ring):
    return [(ring.packet_id(at), bytes(ring.topic(at)), bytes(ring.payload(at))) for at in ring.unsent()]


def test_records_keep_their_order_and_every_field():
    ring = Ring(128)
    assert ring.put(b"a/b", b"one", 7, QOS1 | 1, 30)
    assert ring.put(b"c", b"", 0xFFFF, QOS1, NO_EXPIRY)
    assert contents(ring) == [(7, b"a/b", b"one"), (0xFFFF, b"c", b"")]
    at = ring.find(QUEUED, SENT, 7)
    assert (ring.flags(at), ring.state(at), ring.expiry_s(at)) == (QOS1 | 1, QUEUED, 30)
    assert ring.expiry_s(ring.find(QUEUED, SENT, 0xFFFF)) == NO_EXPIRY
    assert ring.find(QUEUED, SENT, 9) == -1


def test_a_full_ring_takes_nothing_more_and_keeps_what_it_has():
    ring = Ring(128)
    count = 0
    while put(ring, count + 1, b"x" * 20):
        count += 1
    assert count == 3 and ring.count == 3
    assert not put(ring, 9, b"x" * 20)
    assert [packet_id for packet_id, _, _ in contents(ring)] == [1, 2, 3]


def test_a_record_that_never_fits_is_told_apart_from_one_that_has_to_wait():
    ring = Ring(128)
    assert ring.fits(1, 128 - 12 - 1)
    assert not ring.fits(1, 128 - 12)
    assert not Ring(66_000).fits(1, 65536)
    assert put(ring, 1, b"x" * (128 - 13))
    assert not put(ring, 2, b"")


def test_room_comes_back_from_the_oldest_on_even_when_acknowledged_out_of_order():
    ring = Ring(100)
    for packet_id in (1, 2):
        assert put(ring, packet_id, b"x" * 37)
    ring.mark(ring.find(QUEUED, SENT, 2), DONE)
    assert ring.count == 2 and not put(ring, 3, b"y" * 37)
    ring.mark(ring.find(QUEUED, SENT, 1), DONE)
    assert ring.count == 0
    assert put(ring, 3, b"y" * 60)


def test_records_around_the_end_of_the_buffer_stay_contiguous():
    ring = Ring(100)
    assert put(ring, 1, b"a" * 30) and put(ring, 2, b"b" * 30)
    ring.mark(ring.find(QUEUED, SENT, 1), DONE)
    assert put(ring, 3, b"c" * 20)
    assert contents(ring) == [(2, b"t", b"b" * 30), (3, b"t", b"c" * 20)]
    ring.mark(ring.find(QUEUED, SENT, 2), DONE)
    assert contents(ring) == [(3, b"t", b"c" * 20)]


def test_a_lost_link_drops_qos_0_and_queues_what_was_sent_with_qos_1_again():
    ring = Ring(256)
    put(ring, 1, b"sent")
    put(ring, 0, b"telemetry", flags=0)
    put(ring, 2, b"waiting")
    ring.mark(ring.find(QUEUED, SENT, 1), SENT)
    ring.link_lost()
    assert contents(ring) == [(1, b"t", b"sent"), (2, b"t", b"waiting")]
    assert [ring.state(at) for at in ring.unsent()] == [AGAIN, QUEUED]
    ring.session_lost()
    assert [ring.state(at) for at in ring.unsent()] == [QUEUED, QUEUED]


def test_any_sequence_of_puts_and_acknowledgements_agrees_with_a_plain_list():
    random = SeededRandom(99)
    for size in (64, 100, 257, 1000):
        ring, model = Ring(size), []
        for step in range(600):
            choice, length = random.bytes(2)
            if choice < 140:
                payload = bytes([step & 0xFF]) * (length % (size // 2))
                if put(ring, step + 1, payload):
                    model.append([step + 1, payload, False])
                else:
                    used = sum(12 + 1 + len(entry[1]) for entry in model)
                    assert used + 13 + len(payload) > size // 2, "refused with more than half of the ring free"
            elif model:
                entry = model[choice % len(model)]
                entry[2] = True
                at = ring.find(QUEUED, SENT, entry[0])
                if at >= 0:
                    ring.mark(at, DONE)
                while model and model[0][2]:
                    model.pop(0)
            assert ring.count == len(model)
            assert contents(ring) == [(entry[0], b"t", entry[1]) for entry in model if not entry[2]]
