from evergrow_protocol import messages
from evergrow_protocol.cbor import Encoder, dumps, loads
from evergrow_protocol.errors import BAD_TYPE, MALFORMED, NOT_DETERMINISTIC, OUT_OF_RANGE, TOO_LARGE, UNSUPPORTED, ProtocolError
from support import raises

PARSERS = (
    (messages.parse_welcome, [3, 1, 1795339200]),
    (messages.parse_ack, [3, 17]),
    (messages.parse_ack, [3, 17, b"\x05"]),
    (messages.parse_command, [9, 1, {0: 1}]),
    (messages.parse_offer, [5, 3000]),
    (messages.parse_block, [5, 1, 0, b"abc"]),
)


def code_of(parse, value):
    data = value if isinstance(value, bytes) else dumps(value)
    return raises(ProtocolError, parse, data).code


def test_an_envelope_is_boot_seq_t_body():
    encoder = Encoder(bytearray(64))
    encoder.encode(1)  # What an earlier message left is gone.
    data = messages.encode(encoder, 7, 3, 1795339200, {0: 1})
    assert bytes(data) == dumps([7, 3, 1795339200, {0: 1}])
    assert bytes(messages.encode(encoder, 7, 4, [123], [])) == dumps([7, 4, [123], []])


def test_a_usage_record_without_its_tag_takes_31_bytes():
    body = {0: 1, 2: 7265, 4: 941, 5: 51240, 6: 602, 7: 1000}
    assert len(messages.encode(Encoder(bytearray(64)), 7, 3, 1795339200, body)) == 31


def test_an_envelope_that_does_not_fit_is_refused_and_the_encoder_stays_usable():
    encoder = Encoder(bytearray(16))
    assert raises(ProtocolError, messages.encode, encoder, 7, 3, 1795339200, b"x" * 20).code == TOO_LARGE
    assert len(messages.encode(encoder, 7, 3, 1795339200, 0)) == 9


def test_an_offline_state_says_nothing_else():
    """EG-STATE-001"""
    assert messages.state(messages.LINK_OFFLINE) == {0: 0}
    assert messages.state(messages.LINK_ONLINE, 1, 2, 3, 4, True, 5) == {0: 1, 1: 1, 2: 2, 3: 3, 4: 4, 5: True, 6: 5}


def test_birth_has_its_keys_in_place():
    body = messages.birth(1, 2, "m", "f", ["i", "v", "m"], [(1, 1000, 3)], 2048, 512, 0, 60000)
    assert loads(dumps(body)) == {
        0: 0, 1: 1, 2: 2, 3: "m", 4: "f", 5: ["i", "v", "m"], 6: [[1, 1000, 3]], 7: 2048, 8: 512, 9: 0, 10: 60000
    }  # fmt: skip


def test_an_answer_has_a_result_only_if_there_is_one():
    assert messages.command_result(9, 0) == [9, 0]
    assert messages.command_result(9, 0, {0: 1}) == [9, 0, {0: 1}]


def test_messages_are_parsed():
    assert messages.parse_welcome(dumps([3, 1, 1795339200])) == (3, 1, 1795339200, {})
    assert messages.parse_ack(dumps([3, 17])) == (3, 17, b"")
    boot, seq, bitmap = messages.parse_ack(memoryview(dumps([3, 17, b"\x05\x01"])))
    assert (boot, seq, bytes(bitmap)) == (3, 17, b"\x05\x01")
    assert messages.parse_command(dumps([9, 1, {0: 1}, 77])) == (9, [1, {0: 1}, 77])
    assert messages.parse_offer(dumps([5, 3000])) == (5, 3000, 0)
    assert messages.parse_block(dumps([5, 1, 2, b"abc"])) == (5, 1, 2, b"abc")


def test_a_block_is_not_copied():
    data = dumps([5, 1, 0, bytes(4000)])
    assert isinstance(messages.parse_block(memoryview(data))[3], memoryview)


def test_elements_that_this_version_does_not_know_are_ignored():
    """EG-ENC-006"""
    assert messages.parse_welcome(dumps([3, 1, 1795339200, {9: 1}, "x"])) == (3, 1, 1795339200, {9: 1})
    assert messages.parse_ack(dumps([3, 17, b"", [1]])) == (3, 17, b"")
    assert messages.parse_offer(dumps([5, 3000, 1, None])) == (5, 3000, 1)
    assert messages.parse_block(dumps([5, 1, 2, b"", 7]))[:3] == (5, 1, 2)
    assert messages.command_fields([1, {0: 1}, 77, "later"]) == (1, {0: 1}, 77)


def test_keys_that_this_version_does_not_know_are_ignored_unless_critical():
    """EG-ENC-003"""
    assert messages.command_fields([1, {0: 1, 99: 2}])[1] == {0: 1, 99: 2}
    assert raises(ProtocolError, messages.command_fields, [1, {-1: 2, 0: 1}]).code == UNSUPPORTED
    assert raises(ProtocolError, messages.command_fields, [1, {-(1 << 63): 2}]).code == UNSUPPORTED
    assert raises(ProtocolError, messages.command_fields, [1, {"a": 2}]).code == BAD_TYPE


def test_keys_are_integers_of_64_bits_with_their_sign():
    """EG-ENC-002: critical or not."""
    assert messages.command_fields([1, {(1 << 63) - 1: 2}])[1] == {(1 << 63) - 1: 2}
    for key in (1 << 63, (1 << 64) - 1, -(1 << 63) - 1, -(1 << 64)):
        assert raises(ProtocolError, messages.command_fields, [1, {0: 1, key: 2}]).code == OUT_OF_RANGE, key


def test_malformed_input_is_refused_by_every_parser():
    """EG-ENC-001, EG-ENC-004"""
    for parse, value in PARSERS:
        good = dumps(value)
        parse(good)
        for end in range(len(good)):
            assert raises(ProtocolError, parse, good[:end]).code == MALFORMED
        assert code_of(parse, good + b"\x00") == MALFORMED
        assert code_of(parse, []) == MALFORMED
        assert code_of(parse, {0: 1}) == BAD_TYPE
        assert code_of(parse, 5) == BAD_TYPE
        assert code_of(parse, b"\x9f" + good[1:] + b"\xff") == NOT_DETERMINISTIC


def test_types_and_ranges_are_checked():
    for parse, value in PARSERS:
        for bad, code in ((-1, OUT_OF_RANGE), (1 << 32, OUT_OF_RANGE), ("1", BAD_TYPE), (True, BAD_TYPE), (None, BAD_TYPE)):
            assert code_of(parse, [bad] + value[1:]) == code
    assert code_of(messages.parse_ack, [3, 17, "x"]) == BAD_TYPE
    assert code_of(messages.parse_ack, [3, 17, bytes(129)]) == TOO_LARGE
    assert code_of(messages.parse_block, [5, 1, 0, "x"]) == BAD_TYPE
    for fields, code in (
        ([], MALFORMED),
        ([1], MALFORMED),
        (["1", {}], BAD_TYPE),
        ([1, []], BAD_TYPE),
        ([1, {}, "x"], BAD_TYPE),
        ([1, {}, -5], OUT_OF_RANGE),
    ):
        assert raises(ProtocolError, messages.command_fields, fields).code == code
    assert raises(ProtocolError, messages.command_fields, [1, {}, None]).code == BAD_TYPE


def test_what_is_nested_or_longer_than_any_message_is_refused_before_it_takes_memory():
    """EG-ENC-005"""
    assert code_of(messages.parse_command, b"\x81" * 200 + b"\x00") == TOO_LARGE
    assert code_of(messages.parse_command, [9] + [0] * 70) == TOO_LARGE
    nested = 1
    for _ in range(6):
        nested = [nested]
    assert messages.parse_command(dumps([9, nested]))[0] == 9  # eight levels pass


def test_a_stored_envelope_is_read_back():
    for t in (1795339200, [123456]):
        data = dumps([7, 3, t, {0: 1, 3: [[1, 1000]]}])
        assert messages.record_id(data) == (7, 3)
        assert messages.decode_envelope(memoryview(data)) == (7, 3, t, {0: 1, 3: [[1, 1000]]})
    for bad, code in (([7, 3, 1], MALFORMED), ([7, 3, "t", {}], BAD_TYPE), ([7, 3, [], {}], BAD_TYPE), ([7, 3, 1, []], BAD_TYPE)):
        assert code_of(messages.decode_envelope, bad) == code
    assert code_of(messages.record_id, [7, 3, 1]) == MALFORMED


def test_one_envelope_and_a_bundle_are_told_apart():
    """EG-USE-004"""
    one = [7, 3, 1795339200, {0: 1}]
    assert not messages.is_bundle(dumps(one))
    assert messages.is_bundle(dumps([one]))
    assert messages.is_bundle(dumps([one, one]))
    assert not messages.is_bundle(dumps([]))
