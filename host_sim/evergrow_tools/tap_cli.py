"""`evergrow tap`: what devices and cloud say to each other, live."""

import asyncio
import json
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, TextIO

import aiomqtt
import typer
from rich.console import Console
from rich.text import Text

from evergrow_cloud import link
from evergrow_cloud.errors import CloudError
from evergrow_protocol import message_table, registry, topics, traffic
from evergrow_protocol.errors import ProtocolError
from evergrow_protocol.message_tree import Flaw
from evergrow_protocol.traffic import Heard, Message
from evergrow_tools import message_view, tap
from evergrow_tools.cli import fail

EXPECTED = (CloudError,)
EPILOG = (
    "Examples: evergrow tap --broker mqtt://127.0.0.1:1883; "
    "evergrow tap --broker mqtt://127.0.0.1:1883 --device washer-1 --kind usage --kind ack --record night.jsonl"
)


def main(
    broker: Annotated[
        str, typer.Option(help="mqtt://[user[:password]@]host[:port], or mqtts:// for TLS.", envvar="EVERGROW_BROKER")
    ],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    device: Annotated[str | None, typer.Option(help="Only this device's.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds: usage, or up/usage; may be repeated.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Annotate every byte, as `evergrow decode` does.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    record: Annotated[
        Path | None, typer.Option(help="Append the messages to this file, for `evergrow validate` and `decode`.")
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="Stop after so many; 0: never.")] = 0,
    ca: Annotated[Path | None, typer.Option(help="PEM of the CA of the broker; default: the system's.")] = None,
    cert: Annotated[Path | None, typer.Option(help="PEM of the client certificate.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM of its key.")] = None,
    mqtt_3_1_1: Annotated[bool, typer.Option("--mqtt-3.1.1", help="For brokers that know no MQTT 5.")] = False,
) -> None:
    """Show messages as they pass, decoded; what is not as SPEC.md says is marked. It ends with the connection, or Ctrl-C."""
    link.BrokerUrl.parse(broker)
    tls = link.TlsOptions(*[None if path is None else str(path) for path in (ca, cert, key)])
    wanted = {found.name for name in kind or () for found in _kinds(name)}
    try:
        for name in (tenant, device):
            if name is not None:
                topics.check_id(name)
    except ProtocolError as error:
        fail(f"{error.text}.", code=2)
    with ExitStack() as stack:
        file = stack.enter_context(_open(record)) if record else None
        screen = Screen(full, as_json, wanted, file)
        stack.enter_context(suppress(KeyboardInterrupt))
        try:
            link.run(_listen(screen, broker, tap.topic_filter(tenant, device), tls, mqtt_3_1_1, count))
        except aiomqtt.MqttError as error:
            fail(f"{link.BrokerUrl.parse(broker)}: {error}.", "Is a broker running there? `evergrow broker` starts one.")


class Screen:
    """Where messages go. `show` returns whether the message was one of those wanted; `wanted`: kinds, empty for all."""

    def __init__(self, full: bool, as_json: bool, wanted: set[str], file: TextIO | None) -> None:
        self._table = message_table.load()
        self._registry = registry.load()
        self._console = Console(highlight=False, soft_wrap=True)
        self._full = full
        self._as_json = as_json
        self._wanted = wanted
        self._file = file

    def show(self, message: Message) -> bool:
        try:
            heard: Heard | None = traffic.hear(self._table, message)
            flaws = heard.reading.flaws if heard else []
        except Flaw as flaw:
            heard, flaws = None, [flaw]
        if self._wanted and (heard is None or heard.reading.kind.name not in self._wanted):
            return False
        if self._file is not None:
            self._file.write(traffic.to_line(message) + "\n")
            self._file.flush()
        if self._as_json:
            self._print_json(message, heard, flaws)
        else:
            self._console.print(self._text(message, heard, flaws))
        return True

    def _print_json(self, message: Message, heard: Heard | None, flaws: list[Flaw]) -> None:
        found: dict[str, object] = {"time": message.time_s, "topic": message.topic, "qos": message.qos, "retain": message.retain}
        if heard is not None:
            found |= {"tenant": heard.tenant, "device": heard.device} | message_view.as_json(heard.reading)
        else:
            found |= {
                "hex": message.payload.hex(),
                "flaws": [{"code": flaws[0].code, "rule": flaws[0].rule, "text": flaws[0].text}],
            }
        print(json.dumps(found, ensure_ascii=False), flush=True)

    def _text(self, message: Message, heard: Heard | None, flaws: list[Flaw]) -> Text:
        text = Text(time.strftime("%H:%M:%S ", time.localtime(message.time_s)), "dim")
        if heard is None:
            text.append(f"{message.topic[:100]} ", "red")
        else:
            kind = heard.reading.kind
            text.append(f"{heard.tenant}/{heard.device} ", "bold")
            text.append(f"{'↑' if kind.up else '↓'} {kind.name.partition('/')[2]} ", "cyan" if kind.up else "magenta")
            if message.retain:
                text.append("retained ", "dim")
            if self._full:
                text.append("\n")
                text.append(message_view.annotated(self._registry, heard.reading))
            else:
                text.append(message_view.one_line(self._registry, heard.reading))
        for flaw in flaws:
            text.append(f"\n  ✗ {message_view.flaw_text(flaw)}", "red")
        return text


async def _listen(screen: Screen, broker: str, subscription: str, tls: link.TlsOptions, mqtt_3_1_1: bool, count: int) -> None:
    shown = 0
    connected = asyncio.Event()
    saying = asyncio.create_task(_say_when(connected, subscription))
    async for message in tap.listen(broker, subscription, tls, mqtt_3_1_1, connected):
        shown += screen.show(message)
        if count and shown >= count:
            break
    saying.cancel()


async def _say_when(connected: asyncio.Event, subscription: str) -> None:
    await connected.wait()
    print(f"evergrow: listening to {subscription}", file=sys.stderr, flush=True)


def _kinds(name: str) -> list[message_table.Kind]:
    table = message_table.load()
    found = [kind for kind in table.kinds.values() if name in (kind.name, kind.name.partition("/")[2])]
    if not found:
        fail(f"there is no kind {name!r}; there are {', '.join(table.kinds)}.", code=2)
    return found


def _open(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}.")
