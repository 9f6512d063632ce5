"""`reconciler render`: prints the expanded documents, offline and without keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import click

from reconciler.app.addresses import matching
from reconciler.cli.options import GlobalOptions, global_options
from reconciler.cli.redaction import redactor
from reconciler.cli.reporting import deliver
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError
from reconciler.export.expanded import expanded_json, expanded_yaml
from reconciler.model.diagnostic import nearest
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule
from reconciler.render.escape import json_safe, terminal


@click.command("render")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS|GLOB]...")
@partial(global_options, formats=("text", "json"))
def command(options: GlobalOptions, addresses: tuple[str, ...]) -> int:
    """Print manifests with everything expanded, offline.

    Resolves modules, for_each, when, variables and files. References stay, since their values are
    known only after apply. Prints YAML, or a list of documents with --format json.
    """
    with CommandSession(options) as session:
        session.is_offline = True
        configuration = session.configuration
    documents = _selected((*configuration.resources, *configuration.rules), addresses)
    formats = {"text": lambda: _as_yaml(documents), "json": lambda: _as_json(documents)}
    deliver(options, formats)
    return 0


def _selected(
    documents: Sequence[Resource | Rule], addresses: Sequence[str]
) -> list[Resource | Rule]:
    if not addresses:
        return list(documents)
    known = [document.address for document in documents]
    selected = set()
    for text in addresses:
        matches = matching(text, known)
        if not matches:
            hint = nearest(text, map(str, known))
            raise UsageError(f'no manifest declares "{redactor(text)}".{hint}')
        selected |= set(matches)
    # In the order of the manifests, whatever the order of the arguments.
    return [document for document in documents if document.address in selected]


def _as_yaml(documents: Sequence[Resource | Rule]) -> str:
    # Escaped by line: newlines stay, and other control characters of manifests do not reach a terminal.
    text = "---\n".join(map(expanded_yaml, documents))
    return "".join(f"{terminal(line)}\n" for line in text.splitlines())


def _as_json(documents: Sequence[Resource | Rule]) -> str:
    views = [expanded_json(document) for document in documents]
    return json_safe(json.dumps(views, indent=2, ensure_ascii=False)) + "\n"
