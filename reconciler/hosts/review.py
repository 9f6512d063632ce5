"""Posts for reviewers: one note per stack, and one issue for its drift.

The note is found again by a hidden marker and edited, so a change request with many pushes has one
plan, not twenty. Hidden beside the marker are the digest of the plan and the commit that it was
made from: `approved_digest` reads them once the change is merged. A note keeps the headlines of the
plans before, folded.
"""

from __future__ import annotations

import re

from msgspec import Struct

from reconciler.errors import HostError
from reconciler.hosts.model import ChangeRequest, Host, Note

KEPT_HEADLINES = 5
_LONGEST_HEADLINE = 300
_BEGIN = "<!-- reconciler:earlier -->"
# The end of a note with a history: texts of a report can look like one, and are never last.
_END = "<!-- /reconciler:earlier -->\n\n</details>"
_HEADLINE = re.compile(r"<!-- reconciler:headline (.*?) -->")
_DIGEST = re.compile(r"<!-- reconciler:plan ([0-9a-f]{64}) of ([0-9a-f]{7,64}) -->")
# The second of two hyphens: two hyphens, in a run of any length, would end the comment.
_NO_END = re.compile(r"-(?=-)")
# Any other run of characters becomes one dash, so that no name can end the comment of a marker.
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9._/@]+")


class Posted(Struct, frozen=True):
    """A report to post: its Markdown, the headline of it, and the digest of its plan, if any."""

    text: str
    headline: str
    digest: str = ""


def key_of(folder: str, environment: str | None) -> str:
    """The name of a stack in markers. It is the same for runs that cannot read the stack file."""
    return _NOT_IN_KEY.sub("-", f"{folder or '.'}@{environment or 'default'}")


def post_note(host: Host, request: ChangeRequest, key: str, posted: Posted) -> str:
    """Write or edit the note of a stack. Returns `added` or `edited`."""
    earlier = _note_of(host, request, key)
    if earlier is None:
        body = note_body(key, posted, request, "", host.longest_note)
        host.add_note(request.number, body)
        return "added"
    body = note_body(key, posted, request, earlier.body, host.longest_note)
    host.edit_note(request.number, earlier, body)
    return "edited"


def note_body(key: str, posted: Posted, request: ChangeRequest, earlier: str, longest: int) -> str:
    """The text of a note, at most `longest` characters. The report comes before the history."""
    head = f"{_marker(key)}\n"
    if posted.digest:
        head += f"<!-- reconciler:plan {posted.digest} of {request.head} -->\n"
    headline = _NO_END.sub("- ", posted.headline)[:_LONGEST_HEADLINE]
    head += f"<!-- reconciler:headline `{request.head[:7]}` {headline} -->\n"
    body = head + posted.text.rstrip("\n") + "\n"
    if len(body) > longest:
        cut = "\n\nThe report is longer than a comment can be. The job has all of it.\n"
        body = body[: longest - len(cut)] + cut
    history = _history(earlier)
    if history and len(body) + len(history) <= longest:
        body += history
    return body


def approved_digest(host: Host, commit: str, key: str) -> str:
    """The digest of the plan that was reviewed before a commit was merged.

    Raises HostError if there is none: then nothing may be applied without a new review.
    """
    request = host.merged_request(commit)
    if request is None:
        raise HostError(
            f"no merged change request belongs to the commit {commit[:12]}",
            hint="Apply by hand after a plan, or merge through a change request.",
        )
    note = _note_of(host, request, key)
    approval = None
    if note is not None:
        # Only the second line counts: a text further down can come from the change itself.
        approval = _DIGEST.match(note.body.partition("\n")[2])
    if approval is None:
        raise HostError(
            f"the change request {request.number} has no plan of {key}",
            hint="Its last plan failed or was never posted. Plan again in a new change request.",
        )
    digest, head = approval.groups()
    # Commits that were pushed after the plan are merged too, and nobody has reviewed their effect.
    if head != request.head:
        raise HostError(
            f"the plan of {key} at the change request {request.number} is of the commit "
            f"{head[:12]}, and {request.head[:12]} was merged",
            hint="Plan again in a new change request, or require up-to-date checks before a merge.",
        )
    return digest


def post_drift(host: Host, key: str, posted: Posted, *, is_drifted: bool) -> str:
    """Open, edit or close the issue about the drift of a stack.

    Returns `opened`, `edited`, `closed` or `unchanged`.
    """
    marker = _marker(key)
    # At the beginning: the report of another stack can quote our marker.
    issues = [issue for issue in host.issues() if issue.body.startswith(marker)]
    if not is_drifted:
        for issue in issues:
            host.close_issue(issue, "The last check found no drift.")
        if not issues:
            return "unchanged"
        return "closed"
    title = f"Drift in {key}"
    body = f"{marker}\n{posted.text}"[: host.longest_note]
    if not issues:
        host.open_issue(title, body)
        return "opened"
    if (issues[0].title, issues[0].body.strip()) == (title, body.strip()):
        return "unchanged"
    host.edit_issue(issues[0], title, body)
    return "edited"


def _marker(key: str) -> str:
    return f"<!-- reconciler:stack {key} -->"


def _note_of(host: Host, request: ChangeRequest, key: str) -> Note | None:
    marker = _marker(key)
    # At the beginning: a report can quote a marker, for example in a text that somebody edits.
    notes = [note for note in host.notes(request.number) if note.body.startswith(marker)]
    if not notes:
        return None
    return notes[-1]


def _history(earlier: str) -> str:
    """The folded headlines of the plans before, the latest first."""
    last = _HEADLINE.search(earlier)
    if last is None:
        return ""
    lines = [f"- {last[1]}"]
    before_end = earlier.rstrip().removesuffix(_END)
    if before_end != earlier.rstrip():
        kept = before_end.rpartition(_BEGIN)[2]  # the last one: a report can quote one
        lines += [line for line in kept.splitlines() if line.startswith("- ")]
    shown = "\n".join(line[: _LONGEST_HEADLINE + 20] for line in lines[:KEPT_HEADLINES])
    return f"\n<details><summary>Earlier plans</summary>\n\n{_BEGIN}\n{shown}\n{_END}\n"
