"""The examples of the kinds as manifests that stand alone: with what they refer to, and the project they are in."""

from __future__ import annotations

import re

from reconciler.kinds import KINDS
from reconciler.model.kind import Kind

PEM = "-----BEGIN CERTIFICATE-----\nTm90IHJlYWxseSBhIGNlcnRpZmljYXRlLg==\n-----END CERTIFICATE-----\n"
FILES = {
    "certificates/gateway.pem": PEM,
    "data/price-list.md": "# Prices\n",
    "handbook/a/b.md": "# B\n",
}
"""The files that examples name."""

PROJECT = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
lifecycle: {on_remove: delete}
"""


def whole_example(kind: Kind) -> str:
    """A manifest with all that the example of a kind needs."""
    text = _with_neighbours(kind.example)
    return (
        f"{PROJECT}---\n{text}"
        if re.search(r"project: search|Project/search", text) and kind.name != "Project"
        else text
    )


def kinds_in(manifest: str) -> list[Kind]:
    """The kinds that a manifest has documents of."""
    return [KINDS[name] for name in re.findall(r"^kind: (\w+)", manifest, re.MULTILINE)]


def _with_neighbours(example: str) -> str:
    found = dict.fromkeys(re.findall(r"\$\{(\w+)/", example))
    documents: dict[str, None] = {}
    for text in [*(_with_neighbours(KINDS[name].example) for name in found if name != "Project"), example]:
        documents.update(dict.fromkeys(text.split("---\n")))
    return "---\n".join(documents)
