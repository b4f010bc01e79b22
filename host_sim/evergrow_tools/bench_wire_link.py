"""What a payload costs on the line: MQTT packets as the project's client writes them, TLS 1.3 records as OpenSSL makes them, and
the headers of TCP and IPv4 by their sizes."""

import datetime
import ssl
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from evergrow_mqtt.codec import publish_size

MQTT_5 = 5
SEGMENT_BYTES = 1460
HEADER_BYTES = 40  # IPv4 and TCP without options
PUBACK_BYTES = 4
PING_BYTES = 2  # PINGREQ and PINGRESP alike
KEEPALIVE_S = 480  # the longest that EG-LIM-002 allows


def publish_bytes(topic: str, payload: bytes, qos: int) -> int:
    """Of a PUBLISH without properties."""
    return publish_size(len(topic.encode()), len(payload), qos, 0, 0, MQTT_5)


def on_the_line(packet_bytes: int) -> int:
    """One packet in one TLS record: with TLS, TCP/IP headers and an acknowledgement of TCP for each segment."""
    size = packet_bytes + tls().record
    segments = -(-size // SEGMENT_BYTES)
    return size + 2 * segments * HEADER_BYTES


@dataclass(frozen=True)
class Tls:
    """Of a full handshake with an EC certificate, session tickets included, both ways; and on top of each record. In bytes."""

    handshake: int
    record: int


@cache
def tls() -> Tls:
    """Measured with OpenSSL, TLS 1.3, in memory."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = _certificate(Path(folder))
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(certificate)
        client_context = ssl.create_default_context(cafile=str(certificate))
    client_context.minimum_version = ssl.TLSVersion.TLSv1_3
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname="broker.example")
    server = server_context.wrap_bio(up, down, server_side=True)
    total, done = 0, set[str]()
    while len(done) < 2:
        for name, end, out in (("client", client, up), ("server", server, down)):
            before = out.pending
            try:
                end.do_handshake()
                done.add(name)
            except ssl.SSLWantReadError:
                pass
            total += out.pending - before
    before = up.pending
    client.write(bytes(100))
    return Tls(total, up.pending - before - 100)


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker.example")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("broker.example")]), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    path = folder / "certificate.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path
