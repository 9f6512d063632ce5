"""The digest of a plan: 64 characters that a reviewer approves.

Two plans have the same digest if they would do the same to the same objects for the same reasons.
The digest covers each change with its values before and after, and the outputs. It leaves out
times, calls, the position of a document in its file, warnings, unchanged objects, and the secrets
behind references, because no reviewer approves them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from operator import is_
from typing import Any

import msgspec

from reconciler.model.change import Change, Plan
from reconciler.model.json_codec import sorted_json
from reconciler.model.keys import KeyStep
from reconciler.model.secret import MASK, Secret
from reconciler.model.values import TAG, SecretValue, encode, map_leaves, with_secrets

_VERSION = b"reconciler plan 1\n"
_ITEM = b"\x1e"
_PART = b"\x1f"
_TAG_BYTES = TAG.encode()

_last: tuple[Plan, str] | None = None


def plan_digest(plan: Plan) -> str:
    """SHA-256 of what the plan does, as 64 hexadecimal digits."""
    global _last
    # Other threads plan other stacks meanwhile, so the pair is read once.
    last = _last
    if last is not None and _is_same(last[0], plan):
        return last[1]
    digest = hashlib.sha256(_VERSION)
    for part in _items(plan):
        # A separator that JSON cannot contain, so that two plans never run together to one text.
        digest.update(_ITEM + part)
    text = digest.hexdigest()
    _last = (plan, text)
    return text


def change_digest(change: Change) -> str:
    """The share of one change in the digest of its plan."""
    return hashlib.sha256(_PART.join(map(_canonical, _parts(change)))).hexdigest()


def _masked(leaf: Any) -> Any:
    return MASK if isinstance(leaf, Secret) else leaf


def _is_same(left: Plan, right: Plan) -> bool:
    """Whether two plans share their parts, as copies with other diagnostics or refusals do."""
    if left is right:
        return True
    # By identity: comparing the values of thousands of changes would take as long as a digest.
    return (
        len(left.changes) == len(right.changes)
        and all(map(is_, left.changes, right.changes))
        and left.outputs is right.outputs
        and _head(left) == _head(right)
    )


def _head(plan: Plan) -> tuple[Any, ...]:
    return (plan.stack, plan.environment, plan.base_url, plan.destroy, plan.rollback_of)


def _items(plan: Plan) -> Iterator[bytes]:
    yield _canonical(_head(plan))
    for change in plan.pending:
        yield _PART.join(map(_canonical, _parts(change)))
    for output in plan.outputs:
        yield _canonical((output.name, output.before, output.after))


def _parts(change: Change) -> Iterator[Any]:
    yield "change"
    yield str(change.address)
    yield str(change.action)
    # Names are stable; the sentences may be reworded.
    yield change.reason.name
    yield (change.id, change.project_id, change.matched_by and str(change.matched_by))
    for field in change.fields:
        yield (list(map(str, field.path)), field.before, field.after, field.forces_replacement)
    yield from (change.desired, change.restored, change.before)
    yield (change.destroys, change.removal, change.create_before_destroy)
    yield (change.prevent_destroy, change.on_remove, change.mark)
    # Without the ages of keys, which change between a plan and its approval.
    yield list(map(_key_parts, change.key_work))
    yield change.wait_for_job
    yield change.renamed_from and str(change.renamed_from)
    yield list(map(str, change.depends_on))


def _key_parts(step: KeyStep) -> tuple[Any, ...]:
    # A reviewer who approved that a key is revoked once it is unused did not approve to revoke it
    # at once.
    return (step.field, str(step.action), step.key_id, step.unused_seconds, step.makes_object)


def _canonical(value: Any) -> bytes:
    try:
        text = sorted_json(value)
    except TypeError:  # no plan has a secret in the clear, and a report must not fail over one
        return _canonical(map_leaves(value, _masked))
    if _TAG_BYTES not in text:
        return text
    # Model types become tagged maps, which `encode` tells from maps that a manifest spells so.
    # A digest of a secret depends on the key of the run.
    plain = encode(with_secrets(value, lambda secret: SecretValue(secret.source, "")))
    return json.dumps(msgspec.to_builtins(plain), sort_keys=True).encode("utf-8", "surrogatepass")
