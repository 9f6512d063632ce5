"""Plans to apply and to kill; together they contain every action on every kind.

A scenario is what the folder holds before and after an edit of its manifests. Each document of the second is there for
one thing that an apply can do, which its name says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.emulator import Emulator
from reconciler.model.kind import Kind
from tests.whole_examples import EXAMPLE, REQUEST, whole_example
from tests.whole_examples import FILES as FILES_OF_EXAMPLES

Files = Mapping[str, str]

STACK = """\
kind: Stack
metadata: {name: shop}
spec:
  manifests: [m/]
  guards: {max_delete_percent: 100, max_deletes: 100}
"""


@dataclass(frozen=True)
class Scenario:
    """Files before and after the edit, and what the command line says then.

    `strangers` are the requests that make what exists before us, as `httpx` takes them; for some of it the manifests
    say `adopt`, the rest is to be left alone. Files larger than `whole_bytes` go up in parts.
    """

    name: str
    before: Files
    after: Files
    arguments: tuple[str, ...] = ("apply", "--yes")
    strangers: tuple[Mapping[str, Any], ...] = ()
    permits: tuple[str, ...] = ()
    """Options for taking the edit back."""
    whole_bytes: int = 2000


def document(kind: str, name: str, spec: str, *, project: str = "", lifecycle: str = "") -> str:
    scope = f", project: {project}" if project else ""
    more = f"lifecycle: {{{lifecycle}}}\n" if lifecycle else ""
    return f"kind: {kind}\nmetadata: {{name: {name}{scope}}}\nspec: {{{spec}}}\n{more}"


def _manifests(*documents: str) -> str:
    return "---\n".join(documents)


# --- projects and what hangs on them: the admin key alone -----------------------------------------------------------

_KEY = "key: {{write_to: {{file: secrets/{0}.key}}}}"
_VAULT = (
    'key: {write_to: {command: [sh, -c, \'key="$(cat)" && [ "$key" ] && echo "$key" >> vault\']}}'
)


def _limit(name: str, spec: str, *, lifecycle: str = "") -> str:
    return document("RateLimit", name, spec, project="main", lifecycle=lifecycle)


def _account_of(name: str, spec: str, *, project: str = "main", lifecycle: str = "") -> str:
    return document("ServiceAccount", name, spec, project=project, lifecycle=lifecycle)


STACK_WITH_LEGACY = STACK + f"  projects: {{legacy: {Emulator.project_id}}}\n"

ORGANIZATION = Scenario(
    "organization",
    {
        "reconciler.yaml": STACK_WITH_LEGACY,
        "m/all.yaml": _manifests(
            document("Project", "main", "name: Main"),
            document("Project", "deleted", "name: Deleted", lifecycle="on_remove: delete"),
            document("Project", "forgotten", "name: Forgotten"),
            document(
                "Project",
                "moved",
                "name: Moved, residency: EU_STORAGE_PROCESSING",
                lifecycle="on_remove: delete",
            ),
            document(
                "Project",
                "overlapping",
                "name: Overlapping, residency: EU_STORAGE_PROCESSING",
                lifecycle="on_remove: delete, create_before_destroy: true",
            ),
            _limit("changed", "model: gpt-4.1, max_requests_per_1_minute: 5"),
            _limit("replaced", "model: gpt-4o, max_requests_per_1_minute: 6"),
            _limit("restored", "model: gpt-4o-mini, max_requests_per_1_minute: 7"),
            _limit(
                "forgotten",
                "model: o3, max_requests_per_1_minute: 8",
                lifecycle="on_remove: retain",
            ),
        ),
    },
    {
        "reconciler.yaml": STACK_WITH_LEGACY,
        "m/all.yaml": _manifests(
            document("Project", "main", "name: Renamed"),
            document("Project", "created", "name: Created"),
            document("Project", "adopted", "name: Adopted", lifecycle="adopt: true"),
            document("Project", "moved", "name: Moved", lifecycle="on_remove: delete").replace(
                "Moved}", "Moved, residency: JP_STORAGE}"
            ),
            document(
                "Project",
                "overlapping",
                "name: Overlapping, residency: JP_STORAGE",
                lifecycle="on_remove: delete, create_before_destroy: true",
            ),
            _limit("changed", "model: gpt-4.1, max_requests_per_1_minute: 50"),
            _limit("replaced", "model: gpt-4.1-mini, max_requests_per_1_minute: 60"),
            _limit("first", "model: o4-mini, max_requests_per_1_minute: 9"),
            document(
                "RateLimit", "new", "model: o3, max_requests_per_1_minute: 10", project="created"
            ),
        ),
    },
    strangers=({"url": "/organization/projects", "json": {"name": "Adopted"}},),
)

ACCOUNTS = Scenario(
    "accounts",
    {
        "reconciler.yaml": STACK_WITH_LEGACY,
        "m/all.yaml": _manifests(
            document("Project", "main", "name: Main"),
            _account_of("changed", "role: member"),
            _account_of("key-added", "role: member"),
            _account_of("key-withdrawn", _KEY.format("withdrawn")),
            _account_of("key-moved", _KEY.format("here")),
            _account_of("key-to-command", _KEY.format("to-command")),
            _account_of("replaced", _KEY.format("replaced")),
            _account_of("overlapping", "role: member", lifecycle="create_before_destroy: true"),
            _account_of("deleted", _KEY.format("deleted")),
            _account_of("forgotten", _KEY.format("forgotten"), lifecycle="on_remove: retain"),
        ),
    },
    {
        "reconciler.yaml": STACK_WITH_LEGACY,
        "m/all.yaml": _manifests(
            document("Project", "main", "name: Main"),
            _account_of("changed", "role: owner"),
            _account_of("key-added", "role: member, " + _KEY.format("added")),
            _account_of("key-withdrawn", "role: member"),
            _account_of("key-moved", _KEY.format("there")),
            _account_of("key-to-command", _VAULT),
            _account_of("replaced", _KEY.format("replaced")),
            _account_of("overlapping", "role: member", lifecycle="create_before_destroy: true"),
            _account_of("bare", "name: bare"),
            _account_of("owner", "role: owner"),
            _account_of("with-file", _KEY.format("new")),
            _account_of("owner-with-command", "role: owner, " + _VAULT.replace("vault", "vault-2")),
            _account_of("adopted", "role: member", project="legacy", lifecycle="adopt: true"),
        ),
    },
    arguments=(
        *("apply", "--yes", "--replace", "ServiceAccount/main/replaced"),
        *("--replace", "ServiceAccount/main/overlapping"),
        *("--allow-delete", "ServiceAccount/main/key-withdrawn"),
    ),
    strangers=tuple(
        {
            "url": f"/organization/projects/{Emulator.project_id}/service_accounts",
            "json": {"name": name},
        }
        for name in ("adopted", "theirs")
    ),
)


# --- files and stores: a project key --------------------------------------------------------------------------------


def _uploaded(name: str, path: str, *, lifecycle: str = "") -> str:
    return document("File", name, f"path: data/{path}, purpose: assistants", lifecycle=lifecycle)


def _store_of(name: str, items: str, *, more: str = "", lifecycle: str = "") -> str:
    spec = f"name: {name.title()}{more}" + (f", files: [{items}]" if items else "")
    return document("VectorStore", name, spec, lifecycle=lifecycle)


_SMALL = ", chunking_strategy: {type: static, static: {max_chunk_size_tokens: 200, chunk_overlap_tokens: 50}}"

FILES = Scenario(
    "files",
    {
        "reconciler.yaml": STACK,
        "data/changed.txt": "one\n",
        "data/first.txt": "one\n",
        "data/deleted.txt": "one\n",
        "data/forgotten.txt": "one\n",
        "data/adopted.txt": "adopted\n",
        "m/all.yaml": _manifests(
            _uploaded("changed", "changed.txt"),
            _uploaded("first", "first.txt", lifecycle="create_before_destroy: false"),
            _uploaded("deleted", "deleted.txt"),
            _uploaded("forgotten", "forgotten.txt", lifecycle="on_remove: retain"),
            _store_of("holder", "{file_id: '${File/changed}'}"),
        ),
    },
    {
        "reconciler.yaml": STACK,
        "data/changed.txt": "two, and longer\n",
        "data/first.txt": "two, and longer\n",
        "data/adopted.txt": "adopted\n",
        "data/new.txt": "new\n",
        "data/large.txt": "0123456789" * 500,
        "m/all.yaml": _manifests(
            _uploaded("changed", "changed.txt"),
            _uploaded("first", "first.txt", lifecycle="create_before_destroy: false"),
            _uploaded("new", "new.txt"),
            _uploaded("large", "large.txt"),
            _uploaded("adopted", "adopted.txt", lifecycle="adopt: true"),
            _store_of("holder", "{file_id: '${File/changed}'}, {file_id: '${File/new}'}"),
        ),
    },
    strangers=tuple(
        {
            "url": "/files",
            "data": {"purpose": "assistants"},
            "files": {"file": (name, b"adopted\n")},
        }
        for name in ("adopted.txt", "theirs.txt")
    ),
)

STORES = Scenario(
    "stores",
    {
        "reconciler.yaml": STACK,
        "docs/same.md": "the same\n",
        "docs/edited.md": "first\n",
        "docs/gone.md": "gone\n",
        "docs/tagged.md": "tagged\n",
        "docs/chunked.md": "chunked\n",
        "m/all.yaml": _manifests(
            _store_of("synced", "{path: 'docs/*.md'}"),
            _store_of(
                "expired",
                "{path: docs/same.md}",
                more=", expires_after: {anchor: last_active_at, days: 1}",
            ),
            _store_of(
                "overlapping",
                "{path: docs/same.md}",
                more=", expires_after: {anchor: last_active_at, days: 1}",
                lifecycle="create_before_destroy: true",
            ),
            _store_of("deleted", "{path: docs/same.md}, {path: docs/gone.md}"),
            _store_of("forgotten", "{path: docs/same.md}", lifecycle="on_remove: retain"),
            _store_of("old", ""),
        ),
    },
    {
        "reconciler.yaml": STACK,
        "docs/same.md": "the same\n",
        "docs/edited.md": "second, and longer\n",
        "docs/tagged.md": "tagged\n",
        "docs/chunked.md": "chunked\n",
        "docs/added.md": "added\n",
        "docs/large.md": "0123456789" * 500,
        "more/one.md": "one\n",
        "m/all.yaml": _manifests(
            _store_of(
                "synced",
                "{path: 'docs/[!tc]*.md'}, {path: docs/tagged.md, attributes: {team: cx}}, {path: docs/chunked.md"
                + _SMALL
                + "}",
                more=", metadata: {team: cx}",
            ),
            _store_of(
                "expired",
                "{path: docs/same.md}",
                more=", expires_after: {anchor: last_active_at, days: 1}",
            ),
            _store_of(
                "overlapping",
                "{path: docs/same.md}",
                more=", expires_after: {anchor: last_active_at, days: 1}",
                lifecycle="create_before_destroy: true",
            ),
            _store_of(
                "created", "{path: 'more/*.md'}, {path: docs/same.md}", more=", description: New"
            ),
            _store_of("adopted", "", lifecycle="adopt: true"),
            _store_of("taken", "{path: more/one.md}", lifecycle="adopt: true"),
            document("VectorStore", "new", "name: Old", lifecycle="renamed_from: VectorStore/old"),
        ),
    },
    strangers=tuple(
        {"url": "/vector_stores", "json": {"name": name}} for name in ("Adopted", "Taken", "Theirs")
    ),
)


# --- assistants and agents ------------------------------------------------------------------------------------------


def _bots(kind: str, model: str, temper: str) -> tuple[str, str]:
    def bot(name: str, spec: str = "", *, lifecycle: str = "") -> str:
        return document(
            kind, name, f"name: {kind} {name}, model: {model}{spec}", lifecycle=lifecycle
        )

    before = _manifests(
        bot("changed", f", instructions: One, {temper}"),
        bot("replaced", ", metadata: {team: cx}"),
        bot("overlapping", lifecycle="create_before_destroy: true"),
        bot("deleted"),
        bot("forgotten", lifecycle="on_remove: retain"),
        bot("old"),
    )
    after = _manifests(
        bot("changed", ", instructions: Two"),
        bot("replaced", ", metadata: {team: cx}"),
        bot("overlapping", lifecycle="create_before_destroy: true"),
        bot("created", ", metadata: {team: cx}"),
        bot("adopted", lifecycle="adopt: true"),
        bot("new", lifecycle=f"renamed_from: {kind}/old").replace(f"{kind} new", f"{kind} old"),
    )
    return before, after


_ASSISTANTS, _AGENTS = (
    _bots("Assistant", "gpt-4.1", "temperature: 0.5"),
    _bots("Agent", "gpt-4.1", "service_tier: flex"),
)

BOTS = Scenario(
    "bots",
    {"reconciler.yaml": STACK, "m/assistants.yaml": _ASSISTANTS[0], "m/agents.yaml": _AGENTS[0]},
    {"reconciler.yaml": STACK, "m/assistants.yaml": _ASSISTANTS[1], "m/agents.yaml": _AGENTS[1]},
    arguments=(
        *("apply", "--yes"),
        *(
            word
            for kind in ("Assistant", "Agent")
            for name in ("replaced", "overlapping")
            for word in ("--replace", f"{kind}/{name}")
        ),
    ),
    strangers=tuple(
        {"url": url, "json": {"name": f"{kind} {name}", "model": "gpt-4.1"}}
        for url, kind in (("/assistants", "Assistant"), ("/agents", "Agent"))
        for name in ("adopted", "theirs")
    ),
)


# --- a whole organization from nothing, through a key that the same apply mints; and back --------------

_WHOLE = {
    "reconciler.yaml": STACK
    + '  credentials: {projects: {search: "${file:secrets/search.key}"}}\n',
    "docs/a.md": "a\n",
    "m/project.yaml": document("Project", "other", "name: Other"),
    "docs/b.md": "b\n",
    "m/all.yaml": _manifests(
        document("Project", "search", "name: Search", lifecycle="on_remove: delete"),
        document(
            "RateLimit", "limit", "model: gpt-4.1, max_requests_per_1_minute: 5", project="search"
        ),
        document("ServiceAccount", "ci", "role: owner, " + _KEY.format("search"), project="search"),
        document("File", "list", "path: docs/a.md, purpose: assistants", project="search"),
        document(
            "VectorStore",
            "docs",
            "name: Docs, files: [{path: 'docs/*.md'}, {file_id: '${File/search/list}'}]",
            project="search",
        ),
        document(
            "Assistant",
            "bot",
            "name: Bot, model: gpt-4.1, tools: [{type: file_search}], "
            "tool_resources: {file_search: {vector_store_ids: ['${VectorStore/search/docs}']}}",
            project="search",
        ),
        document("Agent", "agent", "name: Agent, model: gpt-5.1", project="search"),
    ),
}
_NOTHING = {"reconciler.yaml": STACK, "m/project.yaml": document("Project", "other", "name: Other")}

FROM_NOTHING = Scenario("from nothing", _NOTHING, _WHOLE)
DESTROYED = Scenario("destroyed", _WHOLE, _WHOLE, arguments=("destroy", "--yes"))

REMOVED = Scenario("removed", _WHOLE, {**_NOTHING, "reconciler.yaml": _WHOLE["reconciler.yaml"]})
ROTATED = Scenario(
    "rotated",
    _WHOLE,
    {**_WHOLE, "docs/b.md": "b, and longer\n"},
    arguments=("apply", "--yes", "--replace", "ServiceAccount/search/ci"),
)

# --- things that are only added, so that taking the edit back leads to where it began ---

_SYNCED = _store_of("synced", "{path: 'docs/*.md'}")
_KEYLESS = _account_of("keyless", "role: member", project="legacy")

ADDED = Scenario(
    "added",
    {
        "reconciler.yaml": STACK_WITH_LEGACY,
        "docs/a.md": "a\n",
        "m/all.yaml": _manifests(_SYNCED, _KEYLESS, _store_of("plain", "")),
    },
    {
        "reconciler.yaml": STACK_WITH_LEGACY,
        "docs/a.md": "a\n",
        "docs/b.md": "b\n",
        "docs/large.md": "0123456789" * 500,
        "m/all.yaml": _manifests(
            _SYNCED,
            _account_of("keyless", "role: member, " + _KEY.format("keyless"), project="legacy"),
            _store_of("plain", ""),
            _store_of("more", "{path: 'docs/*.md'}"),
            _account_of("more", "role: owner, " + _KEY.format("more"), project="legacy"),
            _uploaded("more", "../docs/large.md").replace("data/../", ""),
            document("Assistant", "more", "name: More, model: gpt-4.1"),
            document("Agent", "more", "name: More, model: gpt-4.1"),
        ),
    },
    permits=("--allow-delete", "ServiceAccount/legacy/keyless"),
)

# --- what an object carries a mark for: losing the state as well ---

MARKED = Scenario(
    "marked",
    {
        "reconciler.yaml": STACK,
        "docs/a.md": "a\n",
        "m/all.yaml": _manifests(
            _store_of("changed", "{path: 'docs/a.md'}"),
            _store_of("deleted", ""),
            *(
                document(kind, name, f"name: {kind} {name}, model: gpt-4.1")
                for kind in ("Assistant", "Agent")
                for name in ("changed", "deleted", "replaced")
            ),
        ),
    },
    {
        "reconciler.yaml": STACK,
        "docs/a.md": "a\n",
        "docs/b.md": "b\n",
        "m/all.yaml": _manifests(
            _store_of("changed", "{path: 'docs/*.md'}", more=", metadata: {team: cx}"),
            _store_of("created", ""),
            *(
                document(kind, name, f"name: {kind} {name}, model: gpt-4.1, instructions: Two")
                for kind in ("Assistant", "Agent")
                for name in ("changed", "created", "replaced")
            ),
        ),
    },
    arguments=("apply", "--yes", "--replace", "Assistant/replaced", "--replace", "Agent/replaced"),
)

SCENARIOS = (
    ORGANIZATION,
    ACCOUNTS,
    FILES,
    STORES,
    BOTS,
    FROM_NOTHING,
    DESTROYED,
    REMOVED,
    ROTATED,
    ADDED,
    MARKED,
)


_REQUESTS = document("File", "requests", "path: data/questions.jsonl, purpose: batch")
_BATCH = 'input_file_id: "${File/requests}", endpoint: /v1/chat/completions, completion_window: 24h'
_CRITERION = "{type: string_check, name: s, input: '{{item.a}}', reference: b, operation: eq}"
_EVAL = document(
    "Eval",
    "quality",
    f"data_source_config: {{type: logs}}, testing_criteria: [{_CRITERION}], name: quality",
)


def _run(answer: str) -> str:
    content = f"[{{item: {{a: {answer}}}}}]"
    source = f"{{type: jsonl, source: {{type: file_content, content: {content}}}}}"
    return document("EvalRun", "today", f'eval_id: "${{Eval/quality}}", data_source: {source}')


_JOBS = {"reconciler.yaml": STACK, "data/questions.jsonl": REQUEST, "data/examples.jsonl": EXAMPLE}
JOBS = Scenario(
    "jobs",
    {
        **_JOBS,
        "m/jobs.yaml": _manifests(
            _REQUESTS, document("Batch", "answers", _BATCH), _EVAL, _run("x")
        ),
    },
    {
        **_JOBS,
        "data/questions.jsonl": REQUEST.replace('"1"', '"2"'),
        "m/jobs.yaml": _manifests(
            _REQUESTS,
            document("Batch", "answers", _BATCH),
            _EVAL,
            _run("y"),
            document("File", "examples", "path: data/examples.jsonl, purpose: fine-tune"),
            document(
                "FineTuningJob", "tone", 'model: gpt-4.1-mini, training_file: "${File/examples}"'
            ),
        ),
    },
)
"""Jobs that run again because an input changed, and one that is started."""


def example_of(kind: Kind) -> Scenario:
    """The example of a kind made from nothing, with all that it refers to; guards let its removal pass."""
    files = {name: textwrap.dedent(text) for name, text in FILES_OF_EXAMPLES.items()}
    stack = files.pop("reconciler.yaml").replace(
        "spec: {", "spec: {manifests: [m/], guards: {max_deletes: 100}, "
    )
    before = {
        "reconciler.yaml": stack,
        "m/bystander.yaml": document("Group", "bystander", "name: Bystander"),
        **files,
    }
    return Scenario(
        f"example of {kind.name}", before, {**before, "m/all.yaml": whole_example(kind)}
    )
