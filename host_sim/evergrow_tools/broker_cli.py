"""`evergrow broker`: the embedded MQTT broker, for trying things out on one machine."""

import json
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from evergrow_tools.brokers import HOST, BrokerError, IotCore
from evergrow_tools.cli import fail

EPILOG = "Example: evergrow broker, and in another terminal: evergrow cloud run --broker mqtt://127.0.0.1:1883"


def main(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for MQTT 5; 0: one that is free.")] = 1883,
    as_json: Annotated[bool, typer.Option("--json", help="Print the URLs as one line of JSON.")] = False,
) -> None:
    """Run an embedded MQTT broker on 127.0.0.1 until interrupted.

    It prints its URL: mqtt://127.0.0.1:PORT. It keeps nothing when it ends and lets everybody in, so it listens on this machine
    alone. Every client must use MQTT 5 there; the second URL, for MQTT 3.1.1, reaches the same broker.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        with tempfile.TemporaryDirectory(prefix="evergrow-broker-") as folder, IotCore(Path(folder), port) as broker:
            url, v4_url = f"mqtt://{HOST}:{broker.port}", f"mqtt://{HOST}:{broker.v4_port}"
            if as_json:
                print(json.dumps({"mqtt5": url, "mqtt311": v4_url}), flush=True)
            else:
                print(f"MQTT 5:     {url}\nMQTT 3.1.1: {v4_url}\nCtrl+C ends it.", flush=True)
            while not ended.wait(1):  # with a timeout, as Windows delivers no signal to a wait without one
                continue
    except BrokerError as error:
        fail(str(error))
    print("ended", file=sys.stderr)
