"""Objects of many kinds are created, changed and removed in one story."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Workspace
from tests.whole_examples import PEM, PROJECT

STORY = """\
kind: SpendLimit
metadata: {name: all}
spec: {threshold_amount: <100|200>}
---
kind: SpendLimit
metadata: {name: search, project: search}
spec: {threshold_amount: <10|20>}
---
kind: SpendAlert
metadata: {name: all}
spec: {threshold_amount: 50, notification_channel: {type: email, recipients: [<a|b>@example.com]}}
---
kind: SpendAlert
metadata: {name: search, project: search}
spec: {threshold_amount: 5, notification_channel: {type: email, recipients: [<a|b>@example.com]}}
---
kind: DataRetention
metadata: {name: all}
spec: {retention_type: <zero_data_retention|modified_abuse_monitoring>}
---
kind: Certificate
metadata: {name: gateway}
spec: {name: <gateway|edge>, certificate: "${file:gateway.pem}"}
---
kind: User
metadata: {name: cleo}
spec: {email: cleo@example.com, role: <owner|reader>}
---
kind: Group
metadata: {name: support}
spec: {name: <Support|Service>}
---
kind: Role
metadata: {name: reader}
spec: {role_name: Reader, description: <Reads|Looks>, permissions: [api.groups.read]}
---
kind: Role
metadata: {name: watcher, project: search}
spec: {role_name: Watcher, description: <Reads|Looks>, permissions: [api.files.read]}
---
kind: RoleAssignment
metadata: {name: support-views, project: search}
spec: {group_id: "${Group/support}", role_id: role-api-project-viewer}
---
kind: WorkloadIdentityProvider
metadata: {name: ci}
spec: {type: oidc, name: CI, issuer: "https://ci.example.com", audience: api, description: <Builds|Ships>}
---
kind: File
metadata: {name: prices}
spec: {path: prices.md, purpose: assistants}
---
kind: VectorStore
metadata: {name: handbook}
spec: {name: <Handbook|Manual>}
---
kind: Assistant
metadata: {name: bot}
spec: {name: <Bot|Helper>, model: gpt-4.1}
---
kind: Thread
metadata: {name: seed}
spec: {metadata: {topic: <orders|returns>}}
---
kind: Agent
metadata: {name: helper}
spec: {name: <Bot|Helper>, model: gpt-5.1}
---
kind: Eval
metadata: {name: same}
spec:
  name: <Same|Equal>
  data_source_config: {type: custom, item_schema: {type: object, properties: {answer: {type: string}}}}
  testing_criteria: [{type: string_check, name: same, input: a, reference: "{{item.answer}}", operation: eq}]
---
kind: Vault
metadata: {name: keys}
spec: {name: <Keys|Secrets>}
"""
"""Where a document has two values, the first is applied first."""


def chosen(which: int) -> str:
    return re.sub(r"<([^|<>]+)\|([^|<>]+)>", lambda found: found[which], STORY)


@pytest.mark.slow
def test_objects_of_many_kinds_are_made_changed_and_removed(workspace: Workspace) -> None:
    workspace.write({"gateway.pem": PEM, "prices.md": "# Prices\n"})
    workspace.declare(PROJECT, chosen(1))
    workspace.apply()
    workspace.declare(PROJECT, chosen(2))
    workspace.apply()
    assert workspace.plan("--refresh", "full").code == 0
    workspace.run("destroy", "--yes", expect=0)
    assert workspace.run("state", "list", expect=0).out == ""
