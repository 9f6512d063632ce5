"""The page on Terraform lists what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.terraform.mapping import TerraformProvider
from reconciler.terraform.providers import PROVIDERS

PAGE = Path(__file__).parents[2] / "docs/from-terraform.md"


def rows(provider: TerraformProvider) -> list[str]:
    """The rows of a provider's table."""
    known = [
        f"| `{type}` | {', '.join(mapping.kinds) or '-'} | {mapping.note} |"
        for type, mapping in sorted(provider.types.items())
    ]
    others = [
        f"| `{type}` | - | {reason} |"
        for type, reason in sorted(provider.without_counterpart.items())
    ]
    return [row.replace("|  |", "| |") for row in (*known, *others)]


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_page_has_the_table_of_a_provider(name: str) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"### `{name}`\n")[1].split("\n#")[0]
    listed = [line for line in section.splitlines() if line.startswith("| `")]
    assert listed == rows(PROVIDERS[name])
