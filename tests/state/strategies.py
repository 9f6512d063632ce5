"""Values, records and outputs as hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st

from reconciler.model.address import Address
from reconciler.model.kind import OnRemove
from reconciler.model.resource import Record
from reconciler.model.values import FileSet, LocalFile, Member, Reference, Template, Unknown

names = st.text("Aa0", min_size=1, max_size=3) | st.sampled_from(["a.b", "a-b", "a_b"])
addresses = st.builds(Address, kind=names, name=names, project=st.none() | names)
references = st.builds(Reference, addresses, st.lists(st.text(max_size=5), max_size=3).map(tuple))
local_files = st.builds(LocalFile, st.text(), st.text(), st.integers(min_value=0))
keys = st.text(max_size=5) | st.just("$reconciler")

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | references
    | st.builds(Template, st.lists(st.text(max_size=5) | references, max_size=3).map(tuple))
    | st.builds(Unknown, st.text(max_size=5))
    | local_files
)


def _containers(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    members = st.builds(Member, st.text(max_size=5), st.none() | local_files, inner, inner, inner)
    return (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | members
        | st.builds(FileSet, st.lists(members, max_size=2).map(tuple))
    )


values = st.recursive(leaves, _containers, max_leaves=5)
specs = st.dictionaries(keys, values, max_size=2)
records = st.builds(
    Record,
    address=addresses,
    id=st.text(min_size=1),
    project_id=st.none() | st.text(),
    applied=specs,
    answered=specs,
    overwritten=specs,
    delivered=specs,
    prevent_destroy=st.booleans(),
    on_remove=st.none() | st.sampled_from(OnRemove),
    depends_on=st.lists(addresses, max_size=3).map(tuple),
    deposed=st.lists(st.text(), max_size=3).map(tuple),
)
