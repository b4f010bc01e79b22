"""What users say: durable before they are told so, kept until the cloud has heard it."""

from evergrow_agent.timebase import Timebase
from evergrow_agent.voice import SAYINGS_MAX, Voice
from evergrow_protocol.cbor import loads
from evergrow_protocol.errors import OUT_OF_RANGE, STORAGE, TOO_LARGE
from evergrow_protocol.messages import VOICE_RATING, VOICE_TEXT_MAX, VOICE_WISH
from faultyflash import BEFORE, FaultyFlash
from stillclock import Clock
from support import raises_code


def make(flash, boot=7):
    voice = Voice(flash, Timebase(Clock(None, 5000)))
    voice.boot = boot
    return voice


def said(voice):
    found = []
    envelope = voice.next()
    while envelope:
        found.append(loads(envelope, deterministic=True))
        envelope = voice.next()
    return found


def test_a_rating_and_a_wish_as_the_cloud_gets_them():
    """EG-VOICE-002"""
    voice = make(FaultyFlash())
    assert voice.say(VOICE_RATING, 4, usage=(7, 3), feature=(2, 1001)) == (7, 1)
    assert voice.say(VOICE_WISH, 1, "leiser bitte, nachts") == (7, 2)
    assert said(voice) == [
        [7, 1, [5000], {0: 1, 1: [7, 3], 2: [2, 1001], 3: 4}],
        [7, 2, [5000], {0: 2, 3: 1, 4: "leiser bitte, nachts"}],
    ]


def test_what_was_taken_survives_power_and_goes_when_it_is_heard():
    """EG-VOICE-001"""
    flash = FaultyFlash()
    make(flash).say(VOICE_WISH, 1)
    voice = make(FaultyFlash(flash.files), 8)
    voice.say(VOICE_WISH, 2)
    assert [message[:2] for message in said(voice)] == [[7, 1], [8, 1]]
    voice.heard(9, 1)
    assert voice.pending == 2
    voice.heard(7, 1)
    voice.heard(7, 1)
    assert voice.pending == 1 and not voice.unsaid
    voice.rewind()
    assert [message[:2] for message in said(voice)] == [[8, 1]]
    voice.heard(8, 1)
    assert "voice" not in flash.files


def test_who_speaks_when_there_is_no_room_is_told_so_and_nothing_is_dropped():
    """EG-VOICE-003"""
    voice = make(FaultyFlash())
    for _ in range(SAYINGS_MAX):
        voice.say(VOICE_WISH, 1)
    raises_code(STORAGE, voice.say, VOICE_WISH, 1)
    assert voice.pending == SAYINGS_MAX
    voice.heard(7, 1)
    assert voice.say(VOICE_WISH, 1) == (7, SAYINGS_MAX + 1)


def test_a_flash_that_fails_takes_nothing_and_loses_nothing():
    """EG-VOICE-001, EG-VOICE-003"""
    flash = FaultyFlash()
    voice = make(flash)
    voice.say(VOICE_WISH, 1)
    flash.fail, flash.mode = (lambda *_: True), BEFORE
    raises_code(STORAGE, voice.say, VOICE_WISH, 2)
    voice.heard(7, 1)
    assert voice.pending == 1, "it is said again until it could be removed"
    flash.fail = None
    assert voice.say(VOICE_WISH, 3) == (7, 3), "the id of what failed is not given again"


def test_a_file_that_is_damaged_is_told_and_forgotten():
    flash = FaultyFlash({"voice": b"rubbish!"})
    voice = make(flash)
    assert voice.lost and not voice.pending
    voice.say(VOICE_WISH, 1)
    assert make(flash).pending == 1


def test_what_cannot_be_said_is_refused_before_anything_is_stored():
    """EG-VOICE-002"""
    flash = FaultyFlash()
    voice = make(flash)
    for kind, value in ((VOICE_RATING, 0), (VOICE_RATING, 6), (VOICE_WISH, -1), (3, 1)):
        raises_code(OUT_OF_RANGE, voice.say, kind, value)
    raises_code(TOO_LARGE, voice.say, VOICE_WISH, 1, "ü" * (VOICE_TEXT_MAX // 2 + 1))
    voice.say(VOICE_WISH, 1, "ü" * (VOICE_TEXT_MAX // 2))
    assert flash.count == 1
