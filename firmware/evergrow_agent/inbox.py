"""What becomes of each kind of message from the cloud."""

from evergrow_protocol import messages
from evergrow_protocol.errors import UNKNOWN_KIND, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from evergrow_agent.commands import Commands
    from evergrow_agent.entitlements import Entitlements
    from evergrow_agent.home import Home
    from evergrow_agent.install import Installer
    from evergrow_agent.ledger import Ledger
    from evergrow_agent.link import Link
    from evergrow_agent.settings import Settings
    from evergrow_agent.timebase import Timebase
    from evergrow_agent.voice import Voice


class Inbox:
    """Hands on what `link` receives. `clock`: the appliance's."""

    def __init__(
        self,
        timebase: "Timebase",
        ledger: "Ledger",
        commands: "Commands",
        installer: "Installer",
        voice: "Voice",
        home: "Home",
        settings: "Settings",
        entitlements: "Entitlements",
        link: "Link",
        clock: "Any",
    ) -> None:
        self._timebase = timebase
        self._ledger = ledger
        self._commands = commands
        self._installer = installer
        self._voice = voice
        self._settings = settings
        self._entitlements = entitlements
        self._link = link
        self._clock = clock
        self._kinds = {
            "welcome": self._welcome,
            "ack": self._ack,
            "cmd": self._command,
            "cfg": self._config,
            "busy": self._busy,
            "offer": self._offer,
            "block": self._block,
            "heard": self._heard,
            "ent": self._entitlement,
            "home/event": home.receive_event,
            "home/scene": home.receive_scene,
            "cancel": self._cancel,
        }

    def receive(self, kind: str, payload: memoryview) -> None:
        """Act on a message; `payload` is not kept. ProtocolError: it was of no use, and nothing was done."""
        handle = self._kinds.get(kind)
        if handle is None:
            raise ProtocolError(UNKNOWN_KIND, "no such kind")
        handle(payload)

    def _welcome(self, payload: memoryview) -> None:
        boot, seq, utc_s, ext = messages.parse_welcome(payload)
        if self._link.is_current_birth(boot, seq):
            self._timebase.set_utc_s(utc_s)
            self._link.pacing.grant(ext.get(messages.WELCOME_CREDITS))
            self._link.welcomed(ext.get(messages.WELCOME_LEAST_BOOT, 0))

    def _entitlement(self, payload: memoryview) -> None:
        try:
            answer = self._entitlements.take(messages.parse_entitlement(payload))
        except ProtocolError as exc:
            answer = [0, 0, 0, exc.code]
        self._link.answer_entitlement(answer)

    def _ack(self, payload: memoryview) -> None:
        if self._ledger.ack(*messages.parse_ack(payload)):
            self._ledger.settle()
            self._link.acked()

    def _command(self, payload: memoryview) -> None:
        self._link.answer(*self._commands.handle(payload, self._clock.ticks_ms()))

    def _busy(self, payload: memoryview) -> None:
        self._link.hold(*messages.parse_busy(payload))

    def _config(self, payload: memoryview) -> None:
        self._settings.receive(payload)
        self._link.publish_state()  # also when nothing has changed: who asks again has not heard

    def _offer(self, payload: memoryview) -> None:
        self._installer.on_offer(*messages.parse_offer(payload))

    def _block(self, payload: memoryview) -> None:
        self._installer.on_block(*messages.parse_block(payload))

    def _heard(self, payload: memoryview) -> None:
        self._voice.heard(*messages.parse_heard(payload))

    def _cancel(self, payload: memoryview) -> None:
        self._installer.on_cancel(messages.parse_cancel(payload))
