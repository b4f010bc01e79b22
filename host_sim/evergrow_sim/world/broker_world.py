"""The broker as a machine of the simulated world: at a host and port of its network, to be stopped, started and made worse."""

from collections.abc import Callable

from evergrow_sim.world.broker import Broker
from evergrow_sim.world.broker_acl import Acl
from evergrow_sim.world.broker_packets import Publish
from evergrow_sim.world.broker_serve import BrokerServer
from evergrow_sim.world.broker_settings import Limits, Switches
from evergrow_sim.world.net import Listener, Network
from evergrow_sim.world.trace import Trace


class WorldBroker:
    """`core`: the broker itself, whose `switches`, `acl`, `authenticate` and `observe` may be replaced at any time.

    It runs from now on. OSError EADDRINUSE.
    """

    def __init__(
        self,
        network: Network,
        trace: Trace,
        host: str,
        port: int,
        switches: Switches = Switches(),  # noqa: B008  # immutable
        limits: Limits = Limits(),  # noqa: B008
        acl: Acl | None = None,
        observe: Callable[[str, Publish], None] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.core = Broker(
            lambda: network.loop.now_ms, switches=switches, limits=limits, acl=acl, trace=trace, observe=observe
        )
        self._network = network
        self._server = BrokerServer(self.core, network.loop)
        self._listener: Listener | None = network.listen(host, port, self._server.accept)

    def stop(self, polite: bool = False) -> None:
        """All connections end, as `Broker.stop` says; new ones are refused until `start`."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self.core.stop(polite)

    def start(self, with_memory: bool = True) -> None:
        """Listen again, with the sessions and retained messages of before, or without."""
        if self._listener is None:
            self.core.start(with_memory)
            self._listener = self._network.listen(self.host, self.port, self._server.accept)

    def restart(self, with_memory: bool = True) -> None:
        """Crash, and start again in the same instant."""
        self.stop()
        self.start(with_memory)
