"""Plans made by hand that between them have every action, every type of value and every remark."""

from __future__ import annotations

from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Drift,
    FieldChange,
    Origin,
    Outcome,
    OutcomeStatus,
    OutputChange,
    Plan,
    Reason,
    Unmanaged,
)
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.kind import Removal
from reconciler.model.run_origin import RunOrigin, RunReference
from reconciler.model.values import FileSet, LocalFile, Member, Reference, Unknown

DIGEST = "0123456789abcdef" * 4
OTHER_DIGEST = "fedcba9876543210" * 4


def at(file: str, line: int) -> SourceLocation:
    return SourceLocation(f"manifests/{file}.yaml", line, 1)


def member(path: str, **attributes: object) -> Member:
    return Member(path, LocalFile(path, DIGEST, 1234), attributes=attributes or None)


PAGES = (
    "billing",
    "cancellations",
    "holidays",
    "refunds",
    "returns",
    "shipping",
    "slas",
    "tone",
    "warranty",
)
HANDBOOK = FileSet(tuple(member(f"handbook/{page}.md", team="cx") for page in PAGES))
PROMPT = "\n".join(
    [
        "You are the support bot of Acme.",
        "",
        *(f"Rule {number}: be kind." for number in range(1, 61)),
        "Goodbye.",
        "",
    ]
)
NEW_PROMPT = PROMPT.replace(
    "Rule 3: be kind.", "Rule 3: be very kind.\nRule 3b: be brief."
).replace("Goodbye.\n", "")
LOOKUP = {
    "type": "function",
    "function": {
        "name": "look_up_order",
        "description": "Look up an order by its number.\nCall it before you promise anything.",
        "parameters": {
            "type": "object",
            "properties": {
                "order": {"type": "string"},
                "zip": {"type": "string", "enum": ["a", "b"]},
            },
            "required": ["order"],
        },
    },
}

PROJECT = Change(
    Address("Project", "search"),
    Action.CREATE,
    Reason.NEW,
    after={"name": "Search", "residency": "EU_STORAGE_PROCESSING"},
    location=at("projects", 3),
)
ARCHIVED = Change(
    Address("Project", "old-lab"),
    Action.DELETE,
    Reason.NOT_DECLARED,
    id="proj_0l4",
    before={"name": "Old lab"},
    pre_image={"name": "Old lab"},
    removal=Removal.ARCHIVE,
    destructive="an archived project cannot be used or restored",
)
STORE = Change(
    Address("VectorStore", "handbook", "search"),
    Action.CREATE,
    Reason.NEW,
    after={
        "name": "Handbook",
        "description": None,
        "expires_after": {"anchor": "last_active_at", "days": 30},
        "files": HANDBOOK,
        "metadata": {},
    },
    location=at("search", 12),
    depends_on=(PROJECT.address,),
)
BOT = Change(
    Address("Assistant", "support-bot", "search"),
    Action.CREATE,
    Reason.NEW,
    after={
        "name": "Support bot",
        "model": "gpt-4.1",
        "instructions": PROMPT,
        "tools": [{"type": "file_search"}, LOOKUP],
        "tool_resources": {
            "file_search": {"vector_store_ids": [Unknown("${VectorStore/search/handbook}")]}
        },
        "temperature": 0.2,
    },
    desired={"tool_resources": {"file_search": {"vector_store_ids": [Reference(STORE.address)]}}},
    location=at("search", 30),
    depends_on=(STORE.address,),
    warnings=("all 16 pairs of metadata are in use, so the object carries no mark of ours",),
)
LIMIT = Change(
    Address("RateLimit", "gpt-4.1", "support"),
    Action.UPDATE,
    Reason.CONFIG_AND_DRIFT,
    fields=(
        FieldChange(("max_requests_per_1_minute",), 500, 600, Origin.BOTH),
        FieldChange(("max_tokens_per_1_minute",), 1000, 2000),
        FieldChange(("max_requests_per_1_day",), 9, None, note="reset to its previous value"),
    ),
    id="rl-gpt41",
    before={"model": "gpt-4.1", "max_requests_per_1_minute": 500, "max_tokens_per_1_minute": 1000},
    after={"model": "gpt-4.1", "max_requests_per_1_minute": 600, "max_tokens_per_1_minute": 2000},
    pre_image={"max_requests_per_1_minute": 500, "max_tokens_per_1_minute": 1000},
    location=at("limits", 7),
)
TRIAGE = Change(
    Address("Assistant", "triage", "support"),
    Action.UPDATE,
    Reason.DRIFT,
    fields=(
        FieldChange(("name",), "Triage?", "Triage", Origin.DRIFT),
        FieldChange(("instructions",), PROMPT, NEW_PROMPT, Origin.BOTH),
        FieldChange(("tools", 1, "function", "name"), "lookup", "look_up_order"),
        FieldChange(("tools", 2), None, LOOKUP),
        FieldChange(("response_format",), "auto", {"type": "json_object"}),
        FieldChange(("temperature",), 0.7, None, note="back to the API's default"),
        FieldChange(("metadata", "cost centre"), "12", "34", Origin.DRIFT),
        FieldChange(
            ("tool_resources", "file_search", "vector_store_ids", 0),
            "vs_old",
            Unknown("${VectorStore/support/faq}"),
        ),
    ),
    id="asst_7r1",
    before={"name": "Triage?", "model": "gpt-4.1"},
    after={"name": "Triage", "model": "gpt-4.1"},
    pre_image={"name": "Triage?"},
    location=at("support", 41),
)
FAQ = Change(
    Address("VectorStore", "faq", "support"),
    Action.REPLACE,
    Reason.EXPIRED,
    fields=(FieldChange(("status",), "expired", "completed", forces_replacement=True),),
    id="vs_faq",
    before={"name": "FAQ"},
    after={"name": "FAQ"},
    removal=Removal.DELETE,
    destructive="its index is deleted and has to be built again",
    location=at("support", 3),
)
PRICES = Change(
    Address("File", "prices", "support"),
    Action.REPLACE,
    Reason.FIELD_FORCES_REPLACEMENT,
    fields=(
        FieldChange(("path",), DIGEST, OTHER_DIGEST, forces_replacement=True),
        FieldChange(("filename",), "old.md", "prices.md", forces_replacement=True),
    ),
    id="file-1",
    before={"path": DIGEST, "filename": "old.md", "purpose": "assistants"},
    after={
        "path": LocalFile("data/prices.md", OTHER_DIGEST, 24_310),
        "filename": "prices.md",
        "purpose": "assistants",
    },
    create_before_destroy=True,
    destructive="the uploaded file is deleted and leaves every vector store",
    location=at("support", 60),
)
GUIDES = Change(
    Address("VectorStore", "guides", "support"),
    Action.UPDATE,
    Reason.CONFIG,
    fields=(
        FieldChange(("name",), "Guide", "Guides"),
        *(FieldChange(("files", f"guides/{page}.md"), None, {"sha256": DIGEST}) for page in PAGES),
        FieldChange(("files", "guides/changed.md", "sha256"), DIGEST, OTHER_DIGEST),
        FieldChange(("files", "guides/changed.md", "attributes", "team"), "cx", "ops"),
        FieldChange(("files", "guides/gone.md"), {"sha256": DIGEST}, None),
    ),
    id="vs_g",
    after={"name": "Guides", "files": HANDBOOK},
    before={"name": "Guide"},
    location=at("support", 80),
)
ACCOUNT = Change(
    Address("ServiceAccount", "indexer", "support"),
    Action.DELETE,
    Reason.NOT_DECLARED,
    id="user-1",
    before={
        "name": "indexer",
        "role": "member",
        "key": {"write_to": {"file": "secrets/indexer.key"}},
    },
    removal=Removal.DELETE,
    destructive="its keys stop working at once",
)
LIMIT_BACK = Change(
    Address("RateLimit", "o3", "support"),
    Action.DELETE,
    Reason.NOT_DECLARED,
    fields=(
        FieldChange(("max_tokens_per_1_minute",), 5000, 1000, note="reset to its previous value"),
    ),
    id="rl-o3",
    before={"model": "o3", "max_tokens_per_1_minute": 5000},
    removal=Removal.RESTORE,
)
TAKEN = Change(
    Address("VectorStore", "legacy", "support"),
    Action.ADOPT,
    Reason.ADOPTED,
    id="vs_legacy",
    before={"name": "Legacy"},
    after={"name": "Legacy"},
    renamed_from=Address("VectorStore", "old-legacy", "support"),
    mark="acme/prod/VectorStore/support/legacy",
    location=at("support", 99),
)
FORGOTTEN = Change(
    Address("VectorStore", "retained", "support"),
    Action.FORGET,
    Reason.RETAINED,
    id="vs_r",
    before={"name": "Kept"},
)
QUIET = tuple(
    Change(
        Address("Agent", f"quiet-{number}", "support"),
        Action.NO_OP,
        Reason.IN_SYNC,
        id=f"agent_{number}",
    )
    for number in range(12)
)
WARNING = Diagnostic(
    "Assistants are retired",
    "The live platform retired assistants on 2026-08-26: use kind Agent there.",
    address=BOT.address,
    location=at("search", 30),
    severity=Severity.WARNING,
)
ERROR = Diagnostic(
    "Unknown project",
    'No manifest declares project "serach". Did you mean "search"?',
    address=Address("RateLimit", "x", "serach"),
    location=SourceLocation("manifests/team.yaml", 14, 12),
)
RENAMED_OUTSIDE = FieldChange(("name",), "Triage", "Triage?", Origin.DRIFT)

FULL = Plan(
    "acme",
    "prod",
    changes=(
        *QUIET, PROJECT, ARCHIVED, STORE, BOT, LIMIT, TRIAGE, FAQ, PRICES, GUIDES, ACCOUNT, LIMIT_BACK, TAKEN,
        FORGOTTEN,
    ),
    drift=(
        Drift(TRIAGE.address, "asst_7r1", (RENAMED_OUTSIDE,), location=TRIAGE.location),
        Drift(QUIET[1].address, "agent_1", (FieldChange(("model",), "gpt-5", "gpt-5.1", Origin.DRIFT),)),
    ),
    outputs=(
        OutputChange("support_bot", Unknown("${Assistant/search/support-bot}")),
        OutputChange("triage", "asst_7r1", "asst_7r0"),
        OutputChange("gone", None, "x"),
    ),
    diagnostics=(WARNING,),
    config_digest=DIGEST,
    state_serial=7,
    calls=34,
    seconds=1.23,
)  # fmt: skip
SMALL = Plan("acme", "prod", changes=(*QUIET, LIMIT), calls=9, seconds=0.42)
EMPTY = Plan("acme", "prod", changes=QUIET, calls=21, seconds=0.4)
DRIFTED = Plan(
    "acme",
    "prod",
    changes=(*QUIET, TRIAGE, BOT, STORE),
    drift=(
        Drift(
            TRIAGE.address,
            "asst_7r1",
            (
                RENAMED_OUTSIDE,
                FieldChange(("instructions",), PROMPT, NEW_PROMPT, Origin.DRIFT),
            ),
            location=TRIAGE.location,
        ),
        Drift(
            GUIDES.address,
            "vs_g",
            (FieldChange(("files", "guides/gone.md"), {"sha256": DIGEST}, None, Origin.DRIFT),),
            location=GUIDES.location,
        ),
        Drift(
            Address("VectorStore", "old", "search"),
            "vs_old",
            deleted=True,
            location=at("search", 70),
            blame="by ann@acme.com on 2026-09-01",
        ),
    ),
    unmanaged=(
        Unmanaged("Project", "proj_9", "Playground"),
        Unmanaged("VectorStore", "vs_1", "tmp \x1b[31mred\u202e", "search"),
        Unmanaged("VectorStore", "vs_22", "scratch", "support"),
    ),
    calls=34,
    seconds=12.3,
)
RESULT = ApplyResult(
    FULL,
    outcomes=(
        Outcome(PROJECT, OutcomeStatus.APPLIED, "proj_1", seconds=0.8),
        Outcome(
            BOT,
            OutcomeStatus.FAILED,
            message="The model `gpt-4.1` does not exist or you do not have access to it.",
            hint="choose a model of the project, or ask for access",
            request_id="req_123",
            seconds=0.3,
        ),
        Outcome(
            STORE,
            OutcomeStatus.APPLIED,
            "vs_1",
            seconds=75.2,
            notes=("handbook/slas.md was not indexed: empty",),
        ),
        Outcome(TAKEN, OutcomeStatus.APPLIED, "vs_legacy"),
        Outcome(
            LIMIT,
            OutcomeStatus.STALE,
            "rl-gpt41",
            message="it changed since the plan was made",
            hint="Plan again and review.",
            changed_since_plan=(FieldChange(("max_requests_per_1_minute",), 500, 700),),
            blame="rate_limit.updated by ann@acme.com, 2026-01-02 03:04 UTC",
        ),
        Outcome(TRIAGE, OutcomeStatus.SKIPPED, message="VectorStore/support/faq was not replaced"),
    ),
    outputs={"support_bot": None, "triage": "asst_7r1"},
    calls=60,
    seconds=83.0,
    run=RunReference(
        7,
        RunOrigin(
            user="runner",
            host="fv-az1",
            ci="GitHub Actions",
            actor="octocat",
            repository="acme/infra",
            commit="1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
            url="https://github.com/acme/infra/actions/runs/1658821493",
        ),
    ),
)
DONE = ApplyResult(
    SMALL,
    outcomes=(
        Outcome(PROJECT, OutcomeStatus.APPLIED, "proj_1", seconds=0.8),
        Outcome(LIMIT, OutcomeStatus.APPLIED, "rl-gpt41", seconds=0.4),
        Outcome(ARCHIVED, OutcomeStatus.APPLIED, "proj_0l4", seconds=0.2),
    ),
    outputs={"support_bot": "asst_1", "limits": {"requests": 600, "models": ["gpt-4.1", "o3"]}},
    calls=12,
    seconds=2.0,
)
