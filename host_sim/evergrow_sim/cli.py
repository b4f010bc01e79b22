"""`evergrow sim`: simulated appliances from the command line."""

import asyncio
import json
import sys
import threading
import uuid
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer
from rich.console import Console
from rich.markup import escape

from evergrow_agent import devicekey
from evergrow_protocol import cose, registry, topics
from evergrow_protocol.errors import ProtocolError
from evergrow_sim.explore_cli import cuts, explore, replay
from evergrow_sim.launch import DeviceError, DeviceProcess, DeviceTask, Event

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Run simulated appliances.", pretty_exceptions_show_locals=False
)
app.command(epilog="Example: evergrow sim explore --seeds 500 --fault-level heavy")(explore)
app.command(epilog="Example: evergrow sim replay 186 --fault-level heavy --story w1")(replay)
app.command(epilog="Examples: evergrow sim cuts; evergrow sim cuts install delta revert uninstall")(cuts)


EXPECTED = (DeviceError,)


class Appliance(StrEnum):
    """What evergrow_sim.appliances has models of."""

    washer = "washer"
    refrigerator = "refrigerator"
    air_conditioner = "air_conditioner"


class Runtime(StrEnum):
    """The interpreter that a device runs on."""

    micropython = "micropython"
    cpython = "cpython"


@app.callback()
def _group() -> None:
    """Run simulated appliances."""


@app.command(
    epilog="Examples: evergrow sim run --device w1 --speed 60; evergrow sim run --device f1 --appliance refrigerator; "
    "evergrow sim run --device w2 --broker mqtts://host --ca ca.pem"
)
def run(
    context: typer.Context,
    device: Annotated[str, typer.Option(help="Device id, a-z 0-9 and '-'.")],
    broker: Annotated[
        str, typer.Option(help="mqtt://host:port, or mqtts:// for TLS; user:password@ may go before the host.")
    ] = "mqtt://127.0.0.1:1883",
    tenant: Annotated[str, typer.Option(help="Tenant id.")] = "acme",
    appliance: Annotated[Appliance, typer.Option(help="What it is.")] = Appliance.washer,
    runtime: Annotated[Runtime, typer.Option(help="Interpreter; cpython needs no MicroPython.")] = Runtime.micropython,
    heap: Annotated[str, typer.Option(help="Heap of the MicroPython process; a 32-bit board needs about half.")] = "320K",
    speed: Annotated[float, typer.Option(min=0.1, max=2000, help="Times real time, as far as this machine keeps up.")] = 1.0,
    folder: Annotated[Path | None, typer.Option(help="Where the flash is kept; default build/sim/TENANT/DEVICE.")] = None,
    code: Annotated[Path | None, typer.Option(help="Folder of compiled modules to run; default: compiled now.")] = None,
    root: Annotated[Path | None, typer.Option(help="NAME.pub of the root key that grants publishers; for a first start.")] = None,
    trust: Annotated[list[Path] | None, typer.Option(help="NAME.pub of a publisher to trust without a grant, likewise.")] = None,
    device_key: Annotated[
        Path | None, typer.Option(help="File that `evergrow cloud enrol --out` wrote; taken at the first start.")
    ] = None,
    vendor: Annotated[str, typer.Option(help="Vendor domain that manifests must name.")] = "evergrow.example",
    remote: Annotated[bool, typer.Option(help="A person has allowed it to be started from afar.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of sensor noise and back-off; default: different each time.")] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file of the authority that signed the broker's certificate.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Client certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the client certificate, PEM.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
) -> None:
    """Run one appliance until Ctrl-C.

    Lines typed meanwhile are what a person does at the appliance: `start 3`, `stop`, `remote 1`, `door 0`, `set fridge 5`;
    `look 10` shows what there is to see in ten minutes, and what is typed next is done then; `speed 60`, `heap`.
    """
    try:
        topics.check_id(tenant)
        topics.check_id(device)
        config: dict[str, Any] = {"tenant": tenant, "device": device, "appliance": appliance.value, "speed": speed, "seed": seed}
        if remote:
            config["remote_enable"] = True
        config |= broker_options(broker, ca, cert, key)
        config |= {"trust": [trusted_key(path) for path in trust or []], **manifest_ids(vendor, appliance.value)}
        if root:
            config["root"] = trusted_key(root)[1:3]
        if device_key:
            config["device_key"] = shared_key(device_key)
        home = folder or Path("build", "sim", tenant, device)
        home.mkdir(parents=True, exist_ok=True)
    except (ProtocolError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
    show = _print_json if as_json else _printer(device)
    if runtime is Runtime.cpython:
        simulated: DeviceProcess | DeviceTask = DeviceTask(config, home, show)
    else:
        simulated = DeviceProcess(config, home, _code(context, code, home), heap, show)
    try:
        asyncio.run(_run(simulated))
    except KeyboardInterrupt:
        pass  # the device has left in good order


def broker_options(url: str, ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> dict[str, Any]:
    """A broker's URL and TLS files as keys of a device's configuration. ValueError, OSError for what cannot work."""
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError(f"{url!r} is not mqtt://host or mqtts://host")
    options: dict[str, Any] = {"host": parts.hostname, "port": parts.port or (8883 if parts.scheme == "mqtts" else 1883)}
    if parts.username:
        options |= {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    if parts.scheme == "mqtts":
        if ca is None:
            raise ValueError("mqtts needs --ca: a device trusts no authority of its own accord")
        files = {name: path for name, path in (("ca", ca), ("cert", cert), ("key", key)) if path}
        for path in files.values():
            open(path, "rb").close()  # the device would not say which it is
        options["tls"] = {name: str(path.resolve()) for name, path in files.items()}
    elif ca or cert or key:
        raise ValueError("TLS files are of no use with mqtt://; did you mean mqtts://?")
    return options


def trusted_key(path: Path) -> list[Any]:
    """A publisher's NAME.pub as a row of a device's key ring. OSError, ValueError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("alg") != "HSS-LMS":
        raise ValueError(f"{path} is not the public half of an HSS-LMS key")
    try:
        return [data["kid"], cose.ALG_HSS_LMS, data["public"], data["publisher"], data["prefix"]]
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}") from None


def shared_key(path: Path) -> str:
    """The device key in a file of 64 hexadecimal digits, as a configuration has it. OSError, ValueError; neither shows it."""
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != devicekey.SIZE:
        raise ValueError(f"{path} is no device key of {2 * devicekey.SIZE} hexadecimal digits")
    return key.hex()


def manifest_ids(vendor: str, appliance: str) -> dict[str, str]:
    """`vendor_id` and `class_id` of a configuration: UUIDv5 of the vendor's domain, and of the class in its name space."""
    vendor_id = uuid.uuid5(uuid.NAMESPACE_DNS, vendor)
    return {"vendor_id": vendor_id.hex, "class_id": uuid.uuid5(vendor_id, appliance).hex}


def _code(context: typer.Context, code: Path | None, home: Path) -> Path:
    """The folder of compiled modules. `context.obj` may hold a function that compiles them into a folder."""
    if code is None:
        compile_into: Callable[[Path], None] | None = context.obj
        if compile_into is None:
            raise typer.BadParameter("say which compiled modules to run", param_hint="--code")
        code = home / "mpy"
        compile_into(code)
    if not (code / "evergrow_agent").is_dir():
        raise typer.BadParameter(f"{code} holds no compiled agent", param_hint="--code")
    return code


def _print_json(event: Event) -> None:
    print(json.dumps(event), flush=True)


def _printer(name: str) -> Callable[[Event], None]:
    console = Console(highlight=False)

    names = registry.load()
    tables = {"programme": names.programmes, "phase": names.phases, "outcome": names.outcomes, "error": names.errors}

    def show(event: Event) -> None:
        words = []
        for key, value in event.items():
            if key != "event":
                words.append(f"{key}={tables[key].name(value) if key in tables and isinstance(value, int) else value}")
        console.print(f"[bold]{name}[/] {event['event']} [dim]{escape(' '.join(words))}[/]", soft_wrap=True)

    return show


async def _run(device: DeviceProcess | DeviceTask) -> None:
    async with device:
        loop = asyncio.get_running_loop()
        threading.Thread(target=_pass_lines, args=(loop, device), daemon=True).start()
        await device.ended()


def _pass_lines(loop: asyncio.AbstractEventLoop, device: DeviceProcess | DeviceTask) -> None:
    for line in sys.stdin:
        try:
            loop.call_soon_threadsafe(_pass_line, device, line.strip())
        except RuntimeError:  # the loop is over
            return


def _pass_line(device: DeviceProcess | DeviceTask, line: str) -> None:
    try:
        if line:
            device.command(line)
    except DeviceError:
        pass  # it has just ended, which is said elsewhere
