"""Twenty manual changes, accepted at once into commented YAML: each changes only its own lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.test_accept import Live
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

FILES = {
    "reconciler.yaml": """\
        # The stack of customer care.
        kind: Stack
        metadata: {name: care}
        spec:
          manifests: [manifests/]
          variables:
            # Ask Ada before you change it.
            answer_model: {default: gpt-5.4, description: The model that answers.}   # reviewed
        """,
    "manifests/limits.yaml": """\
        kind: Project
        metadata: {name: care}
        spec: {name: Care}
        ---
        # One entry a model.
        kind: RateLimit
        metadata: {name: "${each.key}", project: care}
        for_each:
          gpt-5.4:      {requests: 500, tokens: 30000}    # chat
          gpt-5.4-mini: {requests: 60,  tokens: 20000}    # triage

          # only for the nightly job
          gpt-5.5:
            requests: 20   # slow on purpose
            tokens: 10000
        spec:
          model: ${each.key}
          max_requests_per_1_minute: ${each.value.requests}
          max_tokens_per_1_minute: ${each.value.tokens}
        """,
    "manifests/bots.yaml": """\
        # --- who answers customers -------------------------------------------------
        kind: Assistant
        metadata: {name: front}
        spec:
          name: Front desk        # shown to customers
          model: ${var.answer_model}
          description: 'First line'
          temperature: 0.3   # careful
          top_p: 0.9
          instructions: ${file:prompts/front.md}
          metadata: {team: care, tier: 'one'}   # by team
        ---
        kind: Assistant
        metadata:
          name: second
        spec:
          model: "gpt-5.5"     # the strong one
          name: Second line
          # Two tools, in this order.
          tools:
            - {type: code_interpreter}
            - type: file_search
              file_search:
                max_num_results: 5    # no more
          instructions: |
            You help when the front desk cannot.

            Never guess.
          metadata:
            # who pays
            cost-center: "4711"
            owner: ben
        ---
        kind: Assistant
        metadata: {name: night}
        spec: {model: gpt-5.4-mini, name: Night, response_format: {type: text}, description: old}
        """,
    "manifests/stores.yaml": """\
        kind: VectorStore
        metadata: {name: handbook}
        spec:
          name: Handbook      # the printed one
          expires_after: {anchor: last_active_at, days: 30}
          metadata: {team: care}
        ---
        kind: VectorStore
        metadata: {name: prices}
        spec:
          name: "Prices"
          metadata: {}   # none yet
        """,
    "prompts/front.md": "# Front desk\n\nBe kind.\nBe brief.\n",
}
SEARCH = {"type": "file_search", "file_search": {"max_num_results": 9}}
BY_HAND: list[tuple[str, dict[str, Any]]] = [
    ("Assistant/front", {"name": "Reception", "model": "gpt-5.2"}),
    ("Assistant/front", {"description": "It's us", "temperature": 0.5}),
    ("Assistant/front", {"top_p": 0.8, "instructions": "# Front desk\n\nBe kind.\nBe exact.\n"}),
    ("Assistant/front", {"metadata": {"team": "cx", "owner": "ada"}}),
    ("Assistant/second", {"model": "gpt-5.2", "name": "Line: two"}),
    ("Assistant/second", {"tools": [{"type": "code_interpreter"}, SEARCH]}),
    ("Assistant/second", {"instructions": "You help when the front desk cannot.\n\nAsk first.\n"}),
    ("Assistant/second", {"metadata": {"cost-center": "0815", "owner": "ben", "region": "eu"}}),
    ("Assistant/night", {"name": "yes", "description": None}),
    ("VectorStore/handbook", {"name": "Handbook 2", "metadata": {"team": "cx"}}),
    ("VectorStore/handbook", {"expires_after": {"anchor": "last_active_at", "days": 7}}),
    ("VectorStore/prices", {"metadata": {"checked": "2026-11-30"}}),
]
"""Objects, and what somebody gave them: twenty-one values with the limits below."""
EXPECTED = {
    "reconciler.yaml": [
        "-    answer_model: {default: gpt-5.4, description: The model that answers.}   # reviewed",
        "+    answer_model: {default: gpt-5.2, description: The model that answers.}   # reviewed",
    ],
    "manifests/limits.yaml": [
        "-  gpt-5.4:      {requests: 500, tokens: 30000}    # chat",
        "-  gpt-5.4-mini: {requests: 60,  tokens: 20000}    # triage",
        "+  gpt-5.4:      {requests: 450, tokens: 30000}    # chat",
        "+  gpt-5.4-mini: {requests: 60,  tokens: 15000}    # triage",
        "-    requests: 20   # slow on purpose",
        "+    requests: 25   # slow on purpose",
    ],
    "manifests/bots.yaml": [
        "-  name: Front desk        # shown to customers",
        "+  name: Reception        # shown to customers",
        "-  description: 'First line'",
        "-  temperature: 0.3   # careful",
        "-  top_p: 0.9",
        "+  description: 'It''s us'",
        "+  temperature: 0.5   # careful",
        "+  top_p: 0.8",
        "-  metadata: {team: care, tier: 'one'}   # by team",
        "+  metadata: {team: cx, owner: ada}   # by team",
        '-  model: "gpt-5.5"     # the strong one',
        "-  name: Second line",
        '+  model: "gpt-5.2"     # the strong one',
        '+  name: "Line: two"',
        "-        max_num_results: 5    # no more",
        "+        max_num_results: 9    # no more",
        "-    Never guess.",
        "+    Ask first.",
        '-    cost-center: "4711"',
        '+    cost-center: "0815"',
        "+    region: eu",
        "-spec: {model: gpt-5.4-mini, name: Night, response_format: {type: text}, description: old}",
        '+spec: {model: gpt-5.4-mini, name: "yes", response_format: {type: text}, description: null}',
    ],
    "manifests/stores.yaml": [
        "-  name: Handbook      # the printed one",
        "-  expires_after: {anchor: last_active_at, days: 30}",
        "-  metadata: {team: care}",
        "+  name: Handbook 2      # the printed one",
        "+  expires_after: {anchor: last_active_at, days: 7}",
        "+  metadata: {team: cx}",
        "-  metadata: {}   # none yet",
        '+  metadata: {checked: "2026-11-30"}   # none yet',
    ],
    "prompts/front.md": ["-Be brief.", "+Be exact."],
}


@pytest.fixture
def live(workspace: Workspace) -> Iterator[Live]:
    hand = Live(workspace)
    yield hand
    hand.close()


def changed_lines(before: str, after: str) -> list[str]:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))
    return [line for line in lines[2:] if not line.startswith("@@")]


def test_twenty_changes_by_hand_touch_their_own_lines_alone(
    workspace: Workspace, live: Live
) -> None:
    workspace.write(FILES).apply()
    before = {name: (workspace.folder / name).read_text() for name in FILES}
    for address, values in BY_HAND:
        live.change(address, **values)
    live.change_limit("Project/care", "gpt-5.4", max_requests_per_1_minute=450)
    live.change_limit("Project/care", "gpt-5.4-mini", max_tokens_per_1_minute=15_000)
    live.change_limit("Project/care", "gpt-5.5", max_requests_per_1_minute=25)
    done = workspace.run("accept", "--all", "--yes", expect=0)
    assert "refused" not in done.err
    after = {name: (workspace.folder / name).read_text() for name in FILES}
    assert {name: changed_lines(before[name], after[name]) for name in FILES} == EXPECTED
    assert workspace.plan().code == 0
    assert workspace.run("drift").code == 0
