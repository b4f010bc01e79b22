"""Bugs that seeds have found, each with a seed that finds it. What was wrong has a test of its own beside its module, too.

When scenarios or faults are extended, a seed lives another day. Where the defect can be planted again (`planted`), the seed is
then looked for again.
"""

import pytest

from evergrow_sim.world.run import run


@pytest.mark.parametrize("seed", [8, 20, 41])
def test_merged_cycles_are_told_without_another_cycle(seed: int) -> None:
    """What the flash had refused was stored only when the next cycle began, or the next ack came: perhaps never."""
    assert run(seed, "heavy").violations == []


def test_a_birth_that_the_broker_lost_is_said_again() -> None:
    """EG-BIRTH-005: the cloud had it from the will that the device was offline, and never heard that it was back."""
    assert run(47, "heavy").violations == []


def test_code_that_hangs_at_each_start_of_a_programme_is_left_out_in_the_end() -> None:
    """EG-CODE-008: a minute between two attempts, and the watchdog's resets were forgiven each time: nobody could wash again."""
    assert run(146, "heavy").violations == []


def test_a_dead_meter_and_a_power_cut_right_after_the_record_are_two_excuses() -> None:
    """The world itself accused an agent whose meter did not answer, if power failed before the cycle counted as over."""
    assert run(1201, "heavy").violations == []


def test_a_configuration_may_name_a_signal_that_is_not_there() -> None:
    """EG-TELE-007: each tick failed over it, and the device never said its state again."""
    assert run(1, "light").violations == []


def test_a_welcome_that_waited_at_the_broker_does_not_set_the_clock_back() -> None:
    """EG-TIME-007: said again by the broker, kept while the device was away, and taken for the time three minutes later."""
    assert run(2238, "heavy").violations == []


def test_a_birth_that_was_held_back_says_nothing_new() -> None:
    """EG-BIRTH-009: a newer one that named a new feature had come first, and the older one was believed."""
    assert run(60198, "heavy").violations == []


def test_a_grant_that_a_device_refused_is_offered_again_whichever_list_it_took_since() -> None:
    """EG-TRUST-014: a list taken after it had made it allowed, but had been offered before."""
    assert run(90218, "heavy").violations == []


def test_a_transfer_on_trial_whose_feature_is_about_to_leave_is_not_called_confirmed() -> None:
    """EG-FEAT-025: it was offered again before the removal's safe point, and the device said that it had it."""
    assert run(93017, "heavy").violations == []


def test_an_erased_flash_and_a_boot_number_that_was_drawn_are_told_in_a_birth() -> None:
    """EG-BIRTH-007: the number was kept, no birth came after the one that does not count, and the cloud believed the old one."""
    assert run(2323, "heavy").violations == []


@pytest.mark.parametrize("seed", [2040, 2047, 2815, 10151, 732, 40194, 40257, 40305, 40579])
def test_the_world_accused_an_agent_that_did_nothing_wrong(seed: int) -> None:
    """Of a watchdog that bit after the last fault; of the order of cycles after a boot whose number was drawn; and the world's
    broker, restarted twice at a time, forgot who had subscribed without telling anybody. Of an agreement that an erased flash
    has forgotten; of code that is left out since other code hung, and of
    code that was installed anew after it had failed; of a grant that a flash kept, and said that it had not; and a
    file could not be read that the flash, erased, had no more."""
    assert run(seed, "heavy").violations == []


@pytest.mark.parametrize("seed", [2717, 4031, 4105])
def test_a_confirmed_transfer_that_cannot_be_pulled_again_stays_confirmed(seed: int) -> None:
    """EG-FEAT-025: its outcome was lost, it was pulled again over a bad line or with a full flash, and the cloud was told that it
    was refused."""
    assert run(seed, "heavy").violations == []


def test_a_good_version_is_not_blamed_for_the_one_that_hung_before_it() -> None:
    """EG-CODE-008: the one that hung was reverted at boot; its resets stayed counted, and the next version was refused."""
    assert run(10025, "heavy").violations == []


def test_a_full_flash_gives_no_use_away() -> None:
    """EG-ENT-009: cycles whose records found no room had the same id, and counted as one use."""
    assert run(96, "heavy").violations == []
