"""What a configuration refuses before anything runs."""

from evergrow_agent.board import Config


def refused(**options):
    try:
        Config("localhost", 1883, **options)
    except ValueError:
        return True
    return False


def test_a_keepalive_is_between_half_a_minute_and_eight():
    """EG-LIM-002"""
    assert refused(keepalive_s=0)
    assert refused(keepalive_s=29)
    assert not refused(keepalive_s=30)
    assert not refused(keepalive_s=480)
    assert refused(keepalive_s=481)


def test_a_block_fits_the_largest_packet():
    assert refused(rx_bytes=600, block_bytes=512)
    assert not refused(rx_bytes=640, block_bytes=512)
