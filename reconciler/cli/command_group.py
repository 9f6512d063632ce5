"""A group whose help shows the summary of each command whole, wrapped instead of cut."""

from __future__ import annotations

import click

_NO_LIMIT = 10_000


class WholeSummaries(click.Group):
    """A `click.Group` for commands with subcommands."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their summaries."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(_NO_LIMIT)))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
