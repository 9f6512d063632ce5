"""A progress bar for one phase, with an estimate of the time left and the running changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from reconciler.render import phrases
from reconciler.render.progress import Outlook

# An estimate to the second would change with every call.
_FEW_SECONDS = 10.0


class Bar:
    """Draws on `stream` inside a `with` block; every refresh calls `outlook` and `rows`.

    `rows` are lines of text below the bar, which may contain colours.
    """

    def __init__(
        self,
        stream: TextIO,
        name: str,
        outlook: Callable[[], Outlook],
        rows: Callable[[], Sequence[str]] = tuple,
        *,
        color: bool,
    ) -> None:
        self._console = _Console(
            file=stream, force_terminal=True, no_color=not color, highlight=False
        )
        self._drawn = _Drawn(name, outlook, rows, self._console)

    def __enter__(self) -> Self:
        self._drawn.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._drawn.stop()

    def above(self, text: str) -> None:
        """Write whole lines, which may contain colours, above the bar."""
        self._console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)


class _Console(Console):
    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002
        """Never hide the cursor: a killed run could not restore it."""
        return False


class _Drawn(Progress):
    def __init__(
        self,
        name: str,
        outlook: Callable[[], Outlook],
        rows: Callable[[], Sequence[str]],
        console: Console,
    ) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            # The defaults of rich are reds, which look like errors.
            BarColumn(
                bar_width=30,
                complete_style="cyan",
                finished_style="green",
                pulse_style="cyan",
            ),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            refresh_per_second=4,
            # Results go to standard output, which rich must leave alone.
            redirect_stdout=False,
        )
        self._outlook = outlook
        self._rows = rows
        self._only = self.add_task(name, total=None, left="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, updated from the outlook, and the rows below it."""
        # The constructor of rich calls this before there is a task, and before `_rows` is set.
        if self.task_ids:
            now = self._outlook()
            self.update(
                self._only, completed=now.done, total=now.total or None, left=outlook_text(now)
            )
        yield from super().get_renderables()
        if not self.task_ids:
            return
        for row in self._rows():
            yield Text.from_ansi(row, no_wrap=True, overflow="ellipsis")


def outlook_text(outlook: Outlook) -> str:
    """`84 of 125 calls, about 3 min 20 s left`."""
    if not outlook.total:
        return ""
    text = f"{outlook.done:,} of {outlook.total:,} {outlook.unit}"
    if outlook.seconds_left is None:
        return text
    if outlook.seconds_left < _FEW_SECONDS:
        return f"{text}, a few seconds left"
    return f"{text}, about {phrases.duration(outlook.seconds_left)} left"
