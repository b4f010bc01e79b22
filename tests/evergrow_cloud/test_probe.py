"""What is said of a broker that cannot be used, before work begins that needs one."""

import asyncio
from pathlib import Path

import pytest

from evergrow_cloud import probe
from evergrow_cloud.errors import BrokerError
from evergrow_cloud.link import TlsOptions, run
from evergrow_tools.brokers import BrokerTls, IotCore, Mosquitto, free_port

NO_TLS = TlsOptions()


def refusal(url: str, tls: TlsOptions = NO_TLS, wait_s: float = probe.WAIT_S) -> str:
    with pytest.raises(BrokerError) as caught:
        run(probe.check(url, tls, wait_s))
    return str(caught.value)


def test_a_broker_is_found(broker_port: int) -> None:
    run(probe.check(f"mqtt://127.0.0.1:{broker_port}", NO_TLS, 30))


def test_a_broker_without_mqtt_5_is_found(tmp_path: Path) -> None:
    with IotCore(tmp_path) as broker:
        # This port leaves MQTT 5 without an answer.
        run(probe.check(f"mqtt://127.0.0.1:{broker.v4_port}", NO_TLS))


def test_where_nothing_listens_the_reason_is_said() -> None:
    port = free_port()
    assert refusal(f"mqtt://127.0.0.1:{port}").startswith(f"no connection to mqtt://127.0.0.1:{port}: Connection refused")
    assert refusal(f"mqtts://127.0.0.1:{port}").startswith(f"no connection to mqtts://127.0.0.1:{port}: Connection refused")


def test_what_is_no_broker_is_not_waited_for() -> None:
    async def silent() -> str:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerError) as caught:
            await probe.check(f"mqtt://127.0.0.1:{port}", NO_TLS, 0.2)
        with pytest.raises(BrokerError, match=r"within 0\.2 s"):  # no handshake either
            await probe.check(f"mqtts://127.0.0.1:{port}", NO_TLS, 0.2)
        server.close()
        return str(caught.value)

    assert run(silent()).endswith("it does not answer as an MQTT broker does")


def test_a_broker_that_does_not_know_us_is_quoted(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    with Mosquitto(tmp_path, settings=["allow_anonymous false", f"password_file {passwords}"]) as broker:
        said = refusal(f"mqtt://cloud:hush@127.0.0.1:{broker.port}")
    assert "uthori" in said and "hush" not in said


def test_a_certificate_of_an_unknown_authority_is_told(tmp_path: Path, certificates: dict[str, Path]) -> None:
    tls = BrokerTls(certificates["ca"], certificates["server"], certificates["server-key"])
    with Mosquitto(tmp_path, tls=tls) as broker:
        assert "certificate" in refusal(f"mqtts://127.0.0.1:{broker.tls_port}")
        run(probe.check(f"mqtts://127.0.0.1:{broker.tls_port}", TlsOptions(ca=str(certificates["ca"])), 30))
