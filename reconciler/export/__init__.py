"""Turns objects that exist into manifests: from the live organization, or from another tool's state.

- `resource`: one object and the declaration that it would have.
- `naming`: addresses from natural keys.
- `specs`: live objects as specs, with references in place of ids.
- `references`: cycles of references, which manifests cannot have.
- `fold`: one document with `for_each` for documents that repeat in many projects.
- `files`: manifests in folders, as a person would write them.
- `yaml_text`: the text of a document.
"""
