"""The rule `config`: what it must see, on a device that is made of nothing else."""

from types import SimpleNamespace

from evergrow_agent import settings
from evergrow_cloud.configs import Desired
from evergrow_protocol import errors as codes
from evergrow_protocol.errors import ProtocolError
from evergrow_sim.world.desires import Desires, draw


def device(version: int, number: int) -> SimpleNamespace:
    sets, keepalive_s, home, *_ = settings.check(draw(number)[0]) if version else ([], 0, "")
    shown = SimpleNamespace(version=version, keepalive_s=keepalive_s, home=home)
    return SimpleNamespace(settings=shown, telemetry=SimpleNamespace(sets=sets or []))


def desired(version: int, applied: int | None, code: int = 0, refused: int | None = None) -> Desired:
    return Desired(version, {}, 0, applied, code, refused)


GOOD = next(number for number in range(99) if draw(number)[1] == codes.OK and len(draw(number)[0]) == 3)
OTHER = next(number for number in range(GOOD + 1, 99) if draw(number)[1] == codes.OK and len(draw(number)[0]) == 3)
BAD = next(number for number in range(99) if draw(number)[1] != codes.OK)


def test_a_configuration_is_drawn_the_same_again_and_devices_agree_on_what_is_bad() -> None:
    """EG-CFG-005"""
    for number in range(200):
        values, code = draw(number)
        assert (values, code) == draw(number)
        try:
            settings.check(values)
            assert code == codes.OK
        except ProtocolError as error:
            assert error.code == code


def test_the_device_has_what_the_cloud_desires_and_the_cloud_knows() -> None:
    wrong: list[str] = []
    desires = Desires(wrong.append, lambda: False)
    assert desires.missing(None, device(0, GOOD)) == ""
    desires.want(7, *draw(GOOD))
    assert desires.missing(desired(7, 7), device(7, GOOD)) == ""
    assert "None in force" in desires.missing(desired(7, None), device(0, GOOD))
    assert "the cloud believes 7" in desires.missing(desired(7, 7), device(0, GOOD))
    assert desires.missing(desired(7, 7), device(7, OTHER))
    desires.want(8, *draw(BAD))
    assert desires.missing(desired(8, 7, draw(BAD)[1], 8), device(7, GOOD)) == ""
    assert "it must be" in desires.missing(desired(8, 7, codes.STORAGE, 8), device(7, GOOD))
    assert not wrong


def test_no_configuration_comes_back_and_none_that_is_bad_comes_at_all() -> None:
    wrong: list[str] = []
    desires = Desires(wrong.append, lambda: False)
    desires.want(7, *draw(GOOD))
    desires.told(0)
    desires.told(7)
    desires.told(0)
    assert wrong == ["configuration 0 is in force, and 7 was"]
    desires.want(8, *draw(BAD))
    desires.told(8)
    desires.told(9)
    assert len(wrong) == 3
    assert not Desires(wrong.append, lambda: True).told(1)
