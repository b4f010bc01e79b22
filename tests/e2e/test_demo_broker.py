"""The demo against a broker of one's own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import Authority

from evergrow_tools.brokers import BrokerTls, Mosquitto

RULES = ("topic readwrite eg1/acme/#",)


def test_the_demo_runs_over_tls_against_a_broker_of_ones_own(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("micropython_unix", reason="there is no MicroPython wheel for this machine")
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    with Mosquitto(folder, tls=BrokerTls(authority.path, certificate, key), acl=RULES) as broker:
        url = f"mqtts://127.0.0.1:{broker.tls_port}"
        options = ["demo", "--broker", url, "--ca", str(authority.path), "--out", str(tmp_path / "out"), "--json"]
        code = "from evergrow_tools.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["interpreter"][0] == "micropython"
