"""The files of stacks that are alike, for fleets of many."""

from __future__ import annotations

from collections.abc import Iterable


def stack_file(name: str, *, manifests: str = "manifests/", spec: str = "") -> str:
    """The text of a stack file; `spec` are lines indented by two."""
    return f"kind: Stack\nmetadata: {{name: {name}}}\nspec:\n  manifests: [{manifests}]\n{spec}"


def documents(texts: Iterable[str]) -> str:
    """Several documents as one file."""
    return "---\n".join(texts)


def team(name: str, *, requests: int = 30) -> str:
    """A project of its own, with an account and a rate limit."""
    return f"""\
kind: Project
metadata: {{name: {name}}}
spec: {{name: {name}}}
---
kind: ServiceAccount
metadata: {{name: bot, project: {name}}}
spec: {{name: bot-{name}}}
---
kind: RateLimit
metadata: {{name: gpt-4.1, project: {name}}}
spec: {{model: gpt-4.1, max_requests_per_1_minute: {requests}}}
"""
