"""Plans of arbitrary content: names and values as the API or a stranger's manifest might hold them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

from hypothesis import strategies as st

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
from reconciler.model.keys import KeyAction, KeyStep
from reconciler.model.kind import Removal
from reconciler.model.run_origin import RunOrigin, RunReference
from reconciler.model.values import FileSet, LocalFile, Member, Reference, Template, Unknown

NASTY = (
    "\x1b[31m", "\x9b2J", "\u202e", "\u200b", "\x00", "\r", "\n", "\t", "```", "````", "`", "</details>", "<script>",
    "<!--", "@team", "#12", "&lt;", "|", "~~~", "http://x.y", "- ", "> ", "# ", "![a](b)", "[a](b)", "$reconciler",
    "\u2028", "\x7f", "</summary>", "<details>", "Ünïcode", "日本語", "a" * 90, "```\n</details>\n",
)  # fmt: skip
texts = st.lists(st.sampled_from(NASTY) | st.characters(exclude_categories=["Cs"]), max_size=4).map(
    "".join
)
names = st.sampled_from(["a", "search", "gpt-4.1", "X", "handbook_2", "support-bot"])
addresses = st.builds(Address, kind=names, name=names, project=st.none() | names)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
)
files = st.builds(LocalFile, texts, st.just("ab" * 32), st.integers(0, 10**10))
members = st.builds(
    Member,
    texts,
    st.none() | files,
    scalars,
    st.none() | st.dictionaries(texts, scalars, max_size=2),
)
special = st.one_of(
    st.builds(Reference, addresses, st.lists(names, max_size=2).map(tuple)),
    st.builds(Unknown, texts),
    files,
    st.builds(Template, st.lists(texts, max_size=3).map(tuple)),
    st.lists(members, max_size=3).map(lambda found: FileSet(tuple(found) * 4)),
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)


values = st.recursive(scalars | special, _containers, max_leaves=4)


class _Deal:
    """A few arbitrary texts and values, dealt out over all the places of a plan: drawing each would take too long."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._texts = cycle(draw(st.lists(texts, min_size=3, max_size=7)))
        self._values = cycle(draw(st.lists(values, min_size=2, max_size=5)))
        self._addresses = cycle(draw(st.lists(addresses, min_size=1, max_size=3)))
        self._numbers = cycle(draw(st.lists(st.integers(0, 3), min_size=1, max_size=5)))

    def text(self) -> str:
        return next(self._texts)

    def value(self) -> Any:
        return next(self._values)

    def address(self) -> Address:
        return next(self._addresses)

    def one_of(self, *choices: Any) -> Any:
        return choices[next(self._numbers) % len(choices)]

    def some(self, make: Callable[[], Any]) -> tuple[Any, ...]:
        return tuple(make() for _ in range(next(self._numbers)))

    def spec(self) -> dict[str, Any]:
        return {self.text(): self.value() for _ in range(next(self._numbers))}

    def field(self) -> FieldChange:
        path = (self.text(), *self.some(lambda: self.one_of(self.text(), 3)))
        return FieldChange(
            path,
            self.value(),
            self.value(),
            self.one_of(*Origin),
            self.one_of(True, False),
            self.text(),
        )

    def run(self) -> RunReference:
        # The bar keeps the address from being one that may be followed.
        return RunReference(
            3,
            RunOrigin(
                user=self.text(),
                host=self.text(),
                ci=self.text(),
                actor=self.text(),
                repository=self.text(),
                commit=self.text(),
                url=f"{self.text()}|",
            ),
        )

    def place(self) -> SourceLocation | None:
        return self.one_of(None, SourceLocation(self.text(), 3, 4))

    def change(self, action: Action) -> Change:
        return Change(
            address=self.address(),
            action=action,
            reason=self.one_of(*Reason),
            fields=self.some(self.field),
            id=self.one_of(None, self.text()),
            project_id=self.one_of(None, self.text()),
            desired=self.spec(),
            after=self.spec(),
            before=self.spec(),
            pre_image=self.spec(),
            depends_on=self.some(self.address),
            location=self.place(),
            removal=self.one_of(None, *Removal),
            destructive=self.text(),
            create_before_destroy=self.one_of(True, False),
            prevent_destroy=self.one_of(True, False),
            on_remove=self.one_of(None, "delete", "retain"),
            renamed_from=self.one_of(None, self.address()),
            warnings=self.some(self.text),
            keys=self.some(self.key_step),
        )

    def key_step(self) -> KeyStep:
        return KeyStep(
            self.text(),
            self.one_of(*KeyAction),
            self.text(),
            self.one_of(None, self.text()),
            self.one_of(None, 86_400.0),
        )

    def drift(self) -> Drift:
        fields, deleted = self.some(self.field), self.one_of(True, False)
        late = self.one_of("", self.text())
        place = self.place()
        return Drift(
            self.address(), self.text(), fields, deleted, place, blame=self.text(), overdue=late
        )

    def diagnostic(self) -> Diagnostic:
        address = self.one_of(None, self.address())
        return Diagnostic(self.text(), self.text(), address, self.place(), self.one_of(*Severity))

    def unmanaged(self) -> Unmanaged:
        return Unmanaged(self.text(), self.text(), self.text(), self.one_of(None, self.text()))

    def outcome(self) -> Outcome:
        change = self.change(self.one_of(*Action))
        status = self.one_of(*OutcomeStatus)
        request_id = self.one_of(None, self.text())
        return Outcome(
            change,
            status,
            change.id,
            self.text(),
            self.text(),
            request_id,
            1.5,
            self.some(self.text),
        )

    def plan(self) -> Plan:
        return Plan(
            stack=self.text(),
            environment=self.text(),
            changes=tuple(self.change(action) for action in Action),
            drift=self.some(self.drift),
            outputs=self.some(lambda: OutputChange(self.text(), self.value(), self.value())),
            unmanaged=self.some(self.unmanaged),
            diagnostics=self.some(self.diagnostic),
            config_digest=self.text(),
            state_serial=5,
            destroy=self.one_of(True, False),
            calls=7,
            seconds=1.25,
        )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan with a change of every action."""
    return _Deal(draw).plan()


@st.composite
def results(draw: st.DrawFn) -> ApplyResult:
    """A result with a few outcomes."""
    deal = _Deal(draw)
    return ApplyResult(
        deal.plan(),
        deal.some(deal.outcome),
        deal.spec(),
        7,
        1.25,
        deal.one_of(True, False),
        run=deal.run(),
    )
