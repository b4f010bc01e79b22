"""TLS with certificates of both sides, on both interpreters, against mosquitto. All keys are made here and live for the test."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from evergrow_mqtt.tls import _der_blocks, client_tls
from evergrow_tools.brokers import BrokerTls, Mosquitto


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = folder / f"{name}.pem"
        self._certificate = self._sign(self._name, self._key.public_key(), None)
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, dns: str | None = None, expired: bool = False) -> tuple[Path, Path]:
        """(certificate, key) as PEM files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), dns, expired)
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return paths

    def _sign(self, subject, public_key, dns, expired=False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        age = datetime.timedelta(days=30)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * age)
            .not_valid_after(now - age if expired else now + age)
            .add_extension(x509.BasicConstraints(ca=subject == self._name, path_length=None), critical=True)
        )
        if dns:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "evergrow-test-ca")


def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority, name: str, **settings: bool) -> Mosquitto:
    certificate, key = authority.issue(f"server-{name}", dns="localhost", expired=name == "expired")
    return Mosquitto(tmp_path_factory.mktemp(name), tls=BrokerTls(authority.path, certificate, key, **settings))


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Mosquitto]:
    with broker(tmp_path_factory, authority, "strict", require_client_certificate=True) as running:
        yield running


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Mosquitto]:
    with broker(tmp_path_factory, authority, "lenient") as running:
        yield running


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Mosquitto]:
    with broker(tmp_path_factory, authority, "expired") as running:
        yield running


@pytest.mark.parametrize("version", [5, 4])
def test_messages_travel_with_a_server_certificate(lenient, authority, run, version):
    run("tls_carries_messages", "mosquitto", lenient.tls_port, version, authority.path, "localhost")


@pytest.mark.parametrize("version", [5, 4])
def test_messages_travel_with_certificates_of_both_sides(strict, authority, run, version):
    own = authority.issue("device-1")
    run("tls_carries_messages", "mosquitto", strict.tls_port, version, authority.path, "localhost", *own)


def test_a_server_of_an_unknown_authority_is_not_trusted(lenient, tmp_path, run):
    """EG-SEC-001"""
    stranger = Authority(tmp_path, "another-ca")
    assert run("tls_fails", "mosquitto", lenient.tls_port, 5, stranger.path, "localhost") == "TlsError"


def test_a_server_of_another_name_is_not_trusted(lenient, authority, run):
    """EG-SEC-001"""
    assert run("tls_fails", "mosquitto", lenient.tls_port, 5, authority.path, "example.com") == "TlsError"


def test_an_expired_server_is_not_trusted(expired, authority, run):
    """EG-SEC-001"""
    assert run("tls_fails", "mosquitto", expired.tls_port, 5, authority.path, "localhost") == "TlsError"


def test_a_client_without_a_certificate_is_told_so(strict, authority, run):
    assert run("tls_fails", "mosquitto", strict.tls_port, 5, authority.path, "localhost") == "TlsError"


def test_a_client_of_an_unknown_authority_is_told_so(strict, authority, tmp_path, run):
    own = Authority(tmp_path, "another-ca").issue("device-1")
    assert run("tls_fails", "mosquitto", strict.tls_port, 5, authority.path, "localhost", *own) == "TlsError"


def test_a_server_without_tls_is_a_typed_error(lenient, authority, run):
    assert run("tls_fails", "mosquitto", lenient.port, 5, authority.path, "localhost").startswith(("TlsError", "LinkError"))


def test_trusted_certificates_may_be_der_and_several(authority, tmp_path):
    other = Authority(tmp_path, "another-ca")
    both = tmp_path / "both.pem"
    both.write_bytes(authority.path.read_bytes() + other.path.read_bytes())
    assert len(_der_blocks(both.read_bytes())) == 2
    assert len(client_tls(str(both)).context.get_ca_certs()) == 2
    der = tmp_path / "one.der"
    der.write_bytes(_der_blocks(authority.path.read_bytes())[0])
    assert len(client_tls(str(der)).context.get_ca_certs()) == 1


def test_unusable_files_are_os_or_value_errors(tmp_path):
    with pytest.raises(OSError):
        client_tls(str(tmp_path / "missing.pem"))
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_bytes(b"not a certificate")
    with pytest.raises((OSError, ValueError)):
        client_tls(str(nonsense))
