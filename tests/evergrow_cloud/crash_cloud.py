"""A cloud to be killed: `python crash_cloud.py URL DB before|after|never`.

It stops for ever right before or right after the commit of the first usage records, and says "held" when it does.
"""

import asyncio
import sys
import threading

from evergrow_cloud import link
from evergrow_cloud.service import Cloud
from evergrow_cloud.store import Store


class HeldStore(Store):
    moment = "never"

    def _commit(self) -> None:
        (records,) = self.row("SELECT count(*) FROM usage") or (0,)
        if records and self.moment == "before":
            self._hold()
        super()._commit()
        if records and self.moment == "after":
            self._hold()

    def _hold(self) -> None:
        print("held", flush=True)
        threading.Event().wait()


async def main(url: str, path: str, moment: str) -> None:
    with HeldStore(path) as store:
        store.moment = moment
        async with Cloud(store, url, rebirth_delay_s=0) as cloud:
            await cloud.connected()
            print("connected", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    link.run(main(*sys.argv[1:]))
