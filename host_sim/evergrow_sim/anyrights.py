"""Stands in for the agent's `Rights` where features are installed and nobody limits what their publishers may. Portable."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from evergrow_protocol.cose import Key


class AnyRights:
    """Who holds one of `held` may everything; None: they cannot be read."""

    def __init__(self, held: "Sequence[Key] | None") -> None:
        self.held = held

    def keys(self) -> "Sequence[Key] | None":
        return self.held

    def check_offer(self, publisher: int, news: "Any") -> None:
        """No limit."""

    def check_body(self, *what: "Any") -> None:
        """No limit."""
