"""Broker URLs and TLS files."""

import sys
from pathlib import Path

import pytest

from evergrow_cloud import link
from evergrow_cloud.errors import BrokerError


def test_urls_have_the_usual_ports() -> None:
    assert str(link.BrokerUrl.parse("mqtt://broker.example")) == "mqtt://broker.example:1883"
    assert str(link.BrokerUrl.parse("mqtts://broker.example/")) == "mqtts://broker.example:8883"
    assert link.BrokerUrl.parse("mqtt://[::1]:99").host == "::1"


def test_a_password_is_used_but_never_shown() -> None:
    broker = link.BrokerUrl.parse("mqtts://cloud:p%40ss@broker.example")
    assert (broker.username, broker.password) == ("cloud", "p@ss")
    assert "p@ss" not in f"{broker} {broker!r}"


@pytest.mark.parametrize(
    "url", ["", "broker:1883", "http://broker", "mqtt://", "mqtt://b:99999", "mqtt://b:x", "mqtt://b/path", "mqtt://b?x=1"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(BrokerError) as caught:
        link.BrokerUrl.parse(url)
    assert "secret" not in str(caught.value)


def test_tls_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(BrokerError):
        link.TlsOptions(ca=str(tmp_path / "missing.pem")).context()
    (tmp_path / "bad.pem").write_text("not a certificate")
    with pytest.raises(BrokerError):
        link.TlsOptions(ca=str(tmp_path / "bad.pem")).context()


async def _loop_name() -> str:
    import asyncio

    return type(asyncio.get_running_loop()).__name__


def test_the_event_loop_can_watch_sockets() -> None:
    name = link.run(_loop_name())
    assert sys.platform != "win32" or "Selector" in name
