"""What the demo prints: numbered steps, the lines below them, and a spinner on a terminal while something takes long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status


class View:
    """Lines for people; nothing at all when `quiet`."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(highlight=False, quiet=quiet, soft_wrap=True)
        self._step = 0
        self._started = time.monotonic()
        self._status: Status | None = None

    def step(self, title: str) -> None:
        """Begin the next step of the story."""
        self._step += 1
        self._console.print(f"\n[bold cyan]{self._step}[/] [bold]{title}[/]")

    def command(self, *words: str) -> None:
        """A command that is run, as a person would type it."""
        self.line(f"$ {' '.join(words)}", "dim")

    def line(self, text: str, style: str = "") -> None:
        self._console.print(f"  {text}", style=style or None, markup=False)

    def good(self, text: str) -> None:
        self._console.print("  [green]✓[/] ", end="")
        self._console.print(text, markup=False)

    def refused(self, text: str) -> None:
        self._console.print("  [yellow]✗[/] ", end="")
        self._console.print(text, markup=False)

    def table(self, rows: list[tuple[str, str]]) -> None:
        """Names and values, aligned."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.line(f"  {name:<{width}}  {value}")

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that `what` takes a while. `progress` tells how far it is."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(f"  {what}") as self._status:
            yield
        self._status = None

    def progress(self, what: str) -> None:
        """News of what is going on: beside the spinner on a terminal, nothing elsewhere."""
        if self._status is not None:
            self._status.update(f"  {what}")

    def end(self, verdict: str, ok: bool) -> None:
        seconds = time.monotonic() - self._started
        self._console.print(f"\n[dim]{seconds:.1f} s[/]")
        self._console.print(verdict, style="bold green" if ok else "bold red", markup=False)
