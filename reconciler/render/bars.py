"""A bar for a stretch of work, on a terminal: how far it is, and about how long it will still take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from reconciler.render import phrases
from reconciler.render.progress import Outlook

_FEW_SECONDS = 10.0


class Bar:
    """Draws on `stream` for as long as the `with` block lasts; `outlook` is asked anew each time."""

    def __init__(self, stream: TextIO, name: str, outlook: Callable[[], Outlook], *, color: bool) -> None:
        self._console = _Console(file=stream, force_terminal=True, no_color=not color, highlight=False)
        self._drawn = _Drawn(name, outlook, self._console)

    def __enter__(self) -> Self:
        self._drawn.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drawn.stop()

    def above(self, text: str) -> None:
        """Write whole lines, with the colours that are in them, above the bar."""
        self._console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002
        """The cursor stays: a run that is killed could not bring it back."""
        return False


class _Drawn(Progress):
    def __init__(self, name: str, outlook: Callable[[], Outlook], console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[told]}"))
        # Standard output is the result, and goes its own way.
        super().__init__(*columns, console=console, transient=True, refresh_per_second=4, redirect_stdout=False)
        self._outlook = outlook
        self._only = self.add_task(name, total=None, told="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn, brought up to date."""
        if self.task_ids:
            now = self._outlook()
            self.update(self._only, completed=now.done, total=now.total or None, told=told(now))
        yield from super().get_renderables()


def told(outlook: Outlook) -> str:
    """`84 of 125 calls, about 3 min 20 s left`."""
    if not outlook.total:
        return ""
    so_far, left = f"{outlook.done:,} of {outlook.total:,} {outlook.what}", outlook.seconds_left
    if left is None:
        return so_far
    return f"{so_far}, a few seconds left" if left < _FEW_SECONDS else f"{so_far}, about {phrases.duration(left)} left"
