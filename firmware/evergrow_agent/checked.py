"""Small files that are replaced whole and carry a check of their content: SHA-256(content)[:4] | content."""

from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHECK = 4


def save(flash: "Any", name: str, content: bytes) -> None:
    """Replace the file atomically; durable on return. Raises OSError."""
    flash.write(name, sha256(content).digest()[:_CHECK] + content)


def load(flash: "Any", name: str) -> "bytes | None":
    """The content; b"" when what is there is damaged; None when the file is absent. Raises OSError."""
    data: "bytes | None" = flash.read(name)
    if data is None:
        return None
    content = data[_CHECK:]
    return content if sha256(content).digest()[:_CHECK] == data[:_CHECK] else b""


def replace(flash: "Any", name: str, content: bytes) -> None:
    """As `save`; an OSError after which the new content is there all the same is none."""
    try:
        save(flash, name, content)
    except OSError:
        if load(flash, name) != content:
            raise
