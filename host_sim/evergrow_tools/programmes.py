"""Programmes as features bring them, read apart from an appliance."""

from evergrow_agent.programme import Programme


class _Every:
    """Holds every id: whether an appliance has it, and who may name it, are other questions."""

    def __contains__(self, number: object) -> bool:
        return True


def read(data: bytes | bytearray | memoryview) -> Programme:
    """Raises ProtocolError for what no appliance could run."""
    return Programme(data, _Every(), _Every())
