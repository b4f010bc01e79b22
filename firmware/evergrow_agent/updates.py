"""All that looks after features, put together: what is installed, how more comes, and what becomes of it."""

from evergrow_agent.features import Features
from evergrow_agent.fetch import Fetcher
from evergrow_agent.install import Installer
from evergrow_agent.lifecycle import Lifecycle
from evergrow_agent.progress import Progress
from evergrow_agent.reports import Reports
from evergrow_agent.staging import Stager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from evergrow_agent.rights import Rights


class Updates:
    """`features`, `lifecycle` and `installer`, for one boot of a device.

    `flash`, `clock`, `appliance`: ports. `net_clock`: the network's. `rights(features)` makes what is then `rights`. `identity`:
    see `Stager`. `send_get`: see `Fetcher`; `send_report`: see `Reports`. `utc_s()` and `local_minute()`: None while unknown.
    `is_safe`, `quiet`: see `Lifecycle`. `reserve_bytes`: flash that features leave alone. `bytes_per_s`: at most so much is
    pulled, 0 for any.
    """

    def __init__(
        self,
        flash: "Any",
        clock: "Any",
        net_clock: "Any",
        appliance: "Any",
        rights: "Callable[[Features], Rights]",
        identity: "tuple[bytes, bytes]",
        send_get: "Callable[[int, int, int, int, bytes], Awaitable[Any]]",
        send_report: "Callable[[dict[int, Any]], Awaitable[Any]]",
        is_safe: "Callable[[], bool]",
        utc_s: "Callable[[], int | None]",
        local_minute: "Callable[[], int | None]",
        quiet: "tuple[int, int] | None" = None,
        block_bytes: int = 512,
        bytes_per_s: int = 0,
        reserve_bytes: int = 32768,
    ) -> None:
        progress = Progress(flash)
        self.features = Features(flash, progress.files)
        if self.features.of_transfer(progress.transfer) or self.features.outcome(progress.transfer):
            progress.end()  # Power was cut between the index and the end of the transfer.
        self.rights = rights(self.features)
        reports = Reports(self.features, send_report)
        self.lifecycle = Lifecycle(self.features, reports, flash, clock, is_safe, local_minute, quiet)
        self.lifecycle.boot()
        fetcher = Fetcher(net_clock, send_get, block_bytes, bytes_per_s, self.lifecycle.step)
        stager = Stager(
            self.features, progress, fetcher, flash, self.rights, identity, appliance, net_clock, utc_s, reserve_bytes
        )
        self.installer = Installer(self.features, progress, fetcher, stager, self.lifecycle, reports, net_clock)
