"""What people get wrong on the command line ends in one sentence with the right exit code, and never in a stack trace."""

import json
from pathlib import Path

import pytest

from evergrow_cloud import devicekeys, devices
from evergrow_cloud.store import Store
from evergrow_tools import cli, keys

NESTED = 100_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With files that are of no use, a publisher's key, and a database."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "noise").write_bytes(bytes(range(256)) * 8)
    (folder / "empty").write_bytes(b"")
    (folder / "folder").mkdir()
    (folder / "nested").write_text("[" * NESTED)
    (folder / "object.jsonl").write_text(json.dumps({"topic": 5}) + "\n")
    keys.new_key(folder / "keys", "maker", 1, "maker", height=5)
    keys.new_key(folder / "keys", "root", 65535, "root", height=5)
    with Store(folder / "cloud.db") as store:
        devicekeys.enrol(store, "acme", "w1", bytes(32))
        with store.transaction():
            devices.ensure(store, "acme", "w1")
    return folder


@pytest.fixture
def wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder; it is the current one."""
    monkeypatch.chdir(folder)
    return folder


def run(arguments: list[str]) -> int:
    try:
        cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("decode no-such-file", 2, "neither a file nor hex"),
        ("decode folder", 2, "neither a file nor hex"),
        ("decode 8300x1", 2, "'x' is no hex digit"),
        ("decode 830", 2, "an odd number of hex digits"),
        ("decode " + "81" * 40_000, 1, "EG-ENC-005"),
        ("decode noise", 1, "EG-ENC-001"),
        ("decode empty", 1, "there is no message in it"),
        ("decode nested", 1, "'[' is no hex digit"),
        ("decode object.jsonl", 1, "strings"),
        ("decode ff --kind dn/nothing", 2, "no kind"),
        ("encode nested --kind dn/cmd", 1, "EG-ENC-005"),
        ("encode [1 --kind dn/cmd", 1, "line 1"),
        ("encode [1]", 2, "--kind is missing"),
        ("validate noise", 1, "is not text"),
        ("validate nested", 1, "nested:1"),
        ("tap --broker http://x", 1, "a broker URL is"),
        ("cloud status --db noise", 1, "as a database"),
        ("cloud status --db nowhere.db", 1, "there is no database"),
        ("cloud config set acme/w1 noise", 1, "is not text"),
        ("cloud enrol acme/w1 --out no/such/file --db x.db", 1, "cannot write no/such/file: No such file or directory"),
        ("ledger shares noise --db cloud.db", 1, "is not text"),
        ("ledger shares nowhere.toml --db cloud.db", 1, "cannot be read: No such file or directory"),
        ("key new x --publisher 1 --out noise/x", 1, "cannot make noise/x"),
        ("key new x --publisher 1 --ed25519 --out noise/x", 1, "cannot make noise/x"),
        ("key info noise", 1, "cannot read"),
        ("key grant keys/maker.pub --root keys/maker.key", 1, "a publisher's key"),
        ("key revoke --root keys/maker.key --publisher 9 -o list", 1, "a publisher's key"),
        ("feature sign noise --key keys/maker.key", 1, "noise is no built feature"),
        ("feature inspect empty", 1, "empty is no built feature"),
        ("feature verify noise --key keys/maker.pub", 1, "would be refused with code"),
        ("feature push noise --cloud-db nowhere.db --tenant acme --device w1", 1, "there is no database"),
        ("feature build folder", 1, "cannot read folder/feature.toml"),
        ("sim run --device w1 --broker http://x", 2, "mqtt://"),
        ("sim replay one", 2, "integer"),
        ("bench nonsense", 2, "there is no benchmark"),
        ("demo --runtime ruby", 1, "there is no runtime"),
        ("demo --heap 16", 2, "greater than or equal to 64"),
        ("demo --out noise", 1, "cannot make the folder noise: Not a directory"),
        ("demo --out noise/x", 1, "cannot make the folder noise/x: Not a directory"),
        ("demo --broker mqtts://127.0.0.1:1 --ca nowhere", 1, "failed: TLS files: [Errno 2] No such file"),
        ("bench cli --write folder", 2, "folder cannot be written"),
        ("cloud usage w1 --limit 99999999999999999999 --db cloud.db", 2, "less than or equal to"),
        ("cloud command w1 stop --timeout inf --db cloud.db", 2, "less than or equal to"),
        ("cloud command w1 start ٣ --db cloud.db", 2, "no '٣'"),
        ("cloud cancel 99999999999999999999 --db cloud.db", 2, "less than or equal to"),
        ("entitle w1 2/1001 --uses 99999999999999999999 --db cloud.db", 2, "less than or equal to"),
        ("entitle w1 2/1001 --versions 1-9999999999 --db cloud.db", 2, "is not FIRST-LAST"),
        ("entitle w1 2/1001 --expires 1999-12-31 --db cloud.db", 2, "is over, or beyond the year 2106"),
        ("entitle w1 2/1001 --expires 9999-12-31 --db cloud.db", 2, "is over, or beyond the year 2106"),
        ("key grant keys/maker.pub --root keys/root.key --flash 99999999999999999999", 2, "less than or equal to"),
        ("key grant keys/maker.pub --root keys/root.key --not-after 9999-12-31", 2, "is no date"),
        ("key grant keys/maker.pub --root keys/root.key --signals 1-99999", 2, "1-99999 are 99999 ids; a grant holds 64 at most"),
        ("key grant keys/maker.pub --root keys/root.key --actuators 1-65", 2, "1-65 are 65 ids; a grant holds 64 at most"),
        ("key grant keys/maker.pub --root keys/root.key --meters 9-5", 2, "9-5 runs backwards"),
        ("trust push noise --tenant acme --db cloud.db", 1, "noise: neither a grant nor a revocation list"),
        ("sim replay 1 --story nobody", 2, "seed 1 has no device 'nobody'; there are"),
        ("key revoke --root keys/root.key --publisher 99999999", 2, "less than or equal to"),
        ("key revoke --root keys/root.key --sequence -1", 2, "greater than or equal to"),
        ("sim run --device w1 --root noise", 2, "noise is not the public half of an HSS-LMS key"),
        ("sim run --device w1 --trust folder", 2, "folder: Is a directory"),
        ("sim run --device w1 --broker mqtts://h --ca nowhere.pem", 2, "nowhere.pem: No such file or directory"),
        ("sim run --device w1 --folder noise/x --runtime cpython", 2, "noise/x: Not a directory"),
        ("sim explore --seeds 99999999999999999999", 2, "less than or equal to"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_input_ends_in_a_sentence(
    wrong: Path, capfd: pytest.CaptureFixture[str], arguments: str, code: int, says: str
) -> None:
    capfd.readouterr()
    assert run(arguments.split()) == code
    out, err = capfd.readouterr()
    said = " ".join((out + err).replace("│", " ").split())
    assert says in said and "Traceback" not in said


def test_a_grant_holds_as_many_ids_as_the_command_says(wrong: Path) -> None:
    assert run(["key", "grant", "keys/maker.pub", "--root", "keys/root.key", "--signals", "1-64"]) == 0


def test_what_is_no_feature_is_not_offered(wrong: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["feature", "push", "noise", "--cloud-db", "cloud.db", "--tenant", "acme", "--device", "w1"]) == 1
    assert "noise is no built feature, or a damaged one" in capfd.readouterr().err
