"""What can go wrong in the cloud. Every error carries the protocol's code (SPEC section 10) and one sentence for people."""

from evergrow_protocol import errors as codes


class CloudError(Exception):
    """Base of the family. `code`: one of `evergrow_protocol.errors`; `text`: one sentence that names the value and the limit."""

    code = codes.INVALID_STATE

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        if code is not None:
            self.code = code


class WireError(CloudError):
    """Bytes that are not what the protocol allows, received or to be sent."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text, code)


class StoreError(CloudError):
    """The database cannot be opened, or holds something of a newer version."""

    code = codes.STORAGE


class UnknownDevice(CloudError):
    """No device, or more than one, answers to that name."""

    code = codes.OUT_OF_RANGE


class EnrolError(CloudError):
    """A device key that cannot be taken: of the wrong size, or in place of another."""

    code = codes.STALE


class CommandTimeout(CloudError):
    """The device did not answer in time; whether the command ran is unknown unless it carried a deadline."""

    code = codes.EXPIRED


class BrokerError(CloudError):
    """A broker URL or TLS option that cannot work. (An unreachable broker is not an error: the cloud keeps trying.)"""

    code = codes.OUT_OF_RANGE


class TariffError(CloudError):
    """A tariff that says no price, or not one that can be computed with."""

    code = codes.MALFORMED
