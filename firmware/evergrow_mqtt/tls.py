"""TLS settings for a client, from files, the same on both interpreters. The server's certificate is always checked."""

import binascii
import ssl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Tls:
    """What `net.connect` needs for TLS. `server_hostname` None: the certificate must name the host connected to."""

    def __init__(self, context: "Any", server_hostname: "str | None") -> None:
        self.context = context
        self.server_hostname = server_hostname


def client_tls(
    ca_path: str,
    cert_path: "str | None" = None,
    key_path: "str | None" = None,
    server_hostname: "str | None" = None,
) -> Tls:
    """Trust only the certificates in `ca_path`; show the client certificate of `cert_path` and `key_path`, if given.

    Files are PEM or DER; on CPython the client certificate and its key must be PEM. On MicroPython one certificate is
    shown, the first: an issuer in between has to be known to the server. Raises OSError or ValueError for unusable files.
    """
    context: "Any" = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    for certificate in _der_blocks(_read(ca_path)):
        context.load_verify_locations(cadata=certificate)
    if cert_path is not None and key_path is not None:
        if hasattr(ssl, "MBEDTLS_VERSION"):
            context.load_cert_chain(_der_blocks(_read(cert_path))[0], _der_blocks(_read(key_path))[-1])
        else:
            context.load_cert_chain(cert_path, key_path)
    return Tls(context, server_hostname)


def is_tls_error(error: "OSError | None") -> bool:
    """True if it says itself that TLS raised it. CPython's do; MicroPython's are numbers like any other."""
    kind = getattr(ssl, "SSLError", None)
    return kind is not None and isinstance(error, kind)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _der_blocks(data: bytes) -> "list[bytes]":
    """The DER content of each PEM block (RFC 7468), or the data itself, which is DER already."""
    if b"-----BEGIN" not in data:
        return [data]
    blocks = []
    for part in data.split(b"-----BEGIN ")[1:]:
        body = part.split(b"-----")[1]
        blocks.append(binascii.a2b_base64(body))
    return blocks
