"""The registry: consistent in itself, current in its generated tables, readable by people."""

import importlib
import tomllib
from pathlib import Path

import pytest

import evergrow_protocol
from evergrow_protocol.registry import FEATURE_IDS, Entry, Registry, RegistryError, load
from evergrow_tools.registry_gen import render

REGISTRY = load()
FOLDER = Path(evergrow_protocol.__file__).parent


@pytest.mark.parametrize("name", sorted(render(REGISTRY)))
def test_generated_tables_are_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == render(REGISTRY)[name], "run evergrow registry write"


def test_every_class_has_its_table_and_only_its_own_ids() -> None:
    for appliance_class in REGISTRY.classes:
        module = importlib.import_module(f"evergrow_protocol.registry_{appliance_class.name}")
        assert appliance_class.id == module.CLASS_ID
        for signal in REGISTRY.signals:
            assert hasattr(module, f"SIGNAL_{signal.name.upper()}") == (appliance_class.name in signal.classes)


def test_ids_leave_room_for_features_and_names_are_identifiers() -> None:
    for table in REGISTRY.tables.values():
        for entry in table:
            assert 0 <= entry.id < FEATURE_IDS
            assert entry.name.isidentifier() and entry.name == entry.name.lower()
            assert entry.description


def test_what_is_sent_often_costs_one_byte() -> None:
    for table in (REGISTRY.actuators, REGISTRY.usage, REGISTRY.events, REGISTRY.errors, REGISTRY.phases):
        assert all(entry.id < 24 for entry in table)
    for entry in REGISTRY.signals:
        assert entry.id < 24 or not {"washer", "refrigerator", "air_conditioner"} & set(entry.classes)


def test_ranges_are_ranges() -> None:
    for table in (REGISTRY.signals, REGISTRY.actuators):
        for entry in table:
            assert entry.min is not None and entry.max is not None and entry.min < entry.max
            assert set(entry.classes) <= {appliance_class.name for appliance_class in REGISTRY.classes}
            assert entry.classes


def test_matter_ids_are_plausible() -> None:
    """Clusters are 0x0000..0x7fff for the standard ones, attributes 0x0000..0x4fff."""
    for table in REGISTRY.tables.values():
        for entry in table:
            assert set(entry.matter) <= {"cluster", "attribute", "factor", "mode_tag", "mask", "device_type"}
            assert entry.matter.get("cluster", 0) <= 0x7FFF and entry.matter.get("attribute", 0) <= 0x4FFF


def test_names_and_ids_lead_to_each_other() -> None:
    for table in REGISTRY.tables.values():
        for entry in table:
            assert table.by_name(entry.name) is table.by_id(entry.id) is entry
            assert entry.name in table and entry.id in table
            assert table.name(entry.id) == entry.name


def test_unknown_names_and_ids_are_typed_errors() -> None:
    with pytest.raises(RegistryError, match=r"no 'watr'; there are .*water_ml"):
        REGISTRY.signals.by_name("watr")
    with pytest.raises(RegistryError, match="no id 999"):
        REGISTRY.signals.by_id(999)
    assert REGISTRY.signals.name(1003) == "signal-1003"


@pytest.mark.parametrize(
    ("name", "raw", "text"),
    [
        ("temp", 602, "60.2 °C"),
        ("temp", -5, "-0.5 °C"),
        ("water_ml", 12000, "12000 ml"),
        ("door_closed", 1, "yes"),
        ("door_closed", 0, "no"),
    ],
)
def test_values_are_shown_in_their_unit(name: str, raw: int, text: str) -> None:
    assert REGISTRY.signals.by_name(name).format(raw) == text


@pytest.mark.parametrize(("text", "raw"), [("60 degC", 600), ("60.2 °C", 602), (" 60.2degC ", 602), ("-0.5", -5)])
def test_text_with_a_unit_becomes_a_wire_value(text: str, raw: int) -> None:
    assert REGISTRY.signals.by_name("temp").parse(text) == raw


@pytest.mark.parametrize("text", ["60.25 degC", "hot", "", "60 ml", "NaN", "inf"])
def test_text_that_is_no_wire_value_is_refused(text: str) -> None:
    with pytest.raises(RegistryError, match="temp"):
        REGISTRY.signals.by_name("temp").parse(text)


def test_usage_record_is_described_in_words() -> None:
    record = {8: 1, 0: 1, 1: 2, 2: 7165, 3: [[2, 1001]], 4: 1074, 5: 48150, 6: 602, 7: 1000, 77: 5}
    assert REGISTRY.describe_usage(record) == {
        "programme": "cotton",
        "outcome": "fault",
        "duration_s": "7165 s",
        "features": "[[2, 1001]]",
        "energy_wh": "1074 Wh",
        "water_ml": "48150 ml",
        "temp_max": "60.2 °C",
        "spin_max_rpm": "1000 rpm",
        "error": "heater_timeout",
        "usage-77": "5",
    }


def test_description_never_fails_on_what_it_does_not_know() -> None:
    described = REGISTRY.describe_usage({0: 1001, 1: None, 4: "much", 6: True})
    assert described == {"programme": "programme-1001", "outcome": "None", "energy_wh": "much", "temp_max": "True"}


@pytest.mark.parametrize(
    "text",
    [
        "version = 1\n[signals]\na = { id = 1, description = '' }\nb = { id = 1, description = '' }",
        "version = 1\n[signals]\na = { id = 1000, description = '' }",
        "version = 1\n[signals]\na = { id = -1, description = '' }",
        "version = 1\n[signals]\na = { id = 1, description = '', colour = 'red' }",
        "version = 1\n[signals]\na = { id = 1 }",
    ],
)
def test_contradicting_registry_is_refused(text: str) -> None:
    with pytest.raises(RegistryError):
        Registry(tomllib.loads(text))


def test_entry_without_scale_is_in_whole_units() -> None:
    assert Entry(name="x", id=1, description="").format(7) == "7"
