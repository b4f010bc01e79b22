"""The base programmes and the compiler that makes programmes from TOML."""

import tomllib
from pathlib import Path
from typing import Any

import cbor2
import pytest

import evergrow_sim.appliances
from evergrow_agent.programme import Programme
from evergrow_sim.appliances.washer import Washer
from evergrow_tools.programme_toml import ProgrammeSourceError, compile_programme, render_base_programmes

FOLDER = Path(evergrow_sim.appliances.__file__).parent

STEP: dict[str, Any] = {
    "phase": "wash",
    "set": {"drum_rpm": "max", "drain": 1},
    "regulate": [{"actuator": "heater", "signal": "temp", "target": "60 degC", "band": "1.5 degC"}],
    "until": [{"signal": "water_ml", "ge": 6000}, {"signal": "temp", "le": "39.9 degC"}],
    "hold_s": 60,
    "limit_s": 90,
    "error": "heater_timeout",
    "pulse": [{"actuator": "inlet", "value": 1, "on_s": 3, "off_s": 7}],
}


@pytest.mark.parametrize("source", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_compiled_base_programmes_are_current(source: Path) -> None:
    compiled = source.with_name(f"{source.stem}_programmes.py").read_text(encoding="utf-8")
    assert compiled == render_base_programmes(source), "run python -m evergrow_tools.programme_toml"


def test_step_compiles_to_the_documented_map() -> None:
    data = compile_programme({"id": 1001, "nominal_s": 90, "step": [STEP]})
    assert cbor2.loads(data) == [
        1001,
        [
            {
                0: 4,
                1: {4: 32767, 2: 1},
                2: [[3, 2, 600, 15]],
                3: [[1, 0, 6000], [2, 1, 399]],
                4: 60,
                5: 90,
                6: 1,
                7: [[1, 1, 3, 7]],
            }
        ],
        {0: 90},
    ]
    assert data == cbor2.dumps(cbor2.loads(data), canonical=True)
    assert Programme(data, Washer.signals, Washer.limits).id == 1001


def test_repeated_steps_are_written_out() -> None:
    source = """
    programme = "quick"
    [[step]]
    phase = "lock"
    limit_s = 10
    [[step]]
    repeat = 3
    [[step.step]]
    phase = "drain"
    limit_s = 20
    [[step.step]]
    phase = "spin"
    limit_s = 30
    """
    compiled = cbor2.loads(compile_programme(tomllib.loads(source)))
    assert compiled[0] == 3
    assert [step[5] for step in compiled[1]] == [10, *[20, 30] * 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "boil"}, "step 0: phases: no 'boil'"),
        ({"set": {"drumm": 1}}, "step 0: actuators: no 'drumm'"),
        ({"set": {"drain": "on"}}, "step 0: drain"),
        ({"set": {"drain": True}}, "step 0: drain"),
        ({"until": [{"signal": "temp", "ge": "60.25 degC"}]}, "step 0: temp"),
        ({"until": [{"signal": "temp", "ge": 1, "le": 2}]}, "either"),
        ({"until": [{"signal": "temp"}]}, "either"),
        ({"until": [{"ge": 1}]}, "step 0: signals"),
        ({"regulate": [{"actuator": "heater", "signal": "temp"}]}, "step 0: temp"),
        ({"regulate": [{"actuator": "heater", "sensor": "temp", "target": 1}]}, "unknown key 'sensor'"),
        ({"pulse": [{"actuator": "drum_rpm", "on_s": 1, "off_s": 1}]}, "step 0: drum_rpm"),
        ({"error": "bad_luck"}, "step 0: errors"),
        ({"holds": 3}, "step 0: unknown key 'holds'"),
    ],
)
def test_mistakes_name_their_step(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProgrammeSourceError, match=message):
        compile_programme({"id": 1001, "step": [{**STEP, **change}]})


@pytest.mark.parametrize(
    "table", [{}, {"programme": "wool"}, {"id": "1001"}, {"id": 1, "steps": []}, {"id": 1, "step": [{"phase": "wash"}]}]
)
def test_incomplete_programme_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ProgrammeSourceError):
        compile_programme(table)
