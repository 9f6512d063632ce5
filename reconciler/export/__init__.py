"""Turns objects that exist into manifests: from the live organization, or from another tool's state.

- `resource`: one object and the declaration that it would have.
- `naming`: addresses from natural keys.
- `specs`: live objects as specs, with references in place of ids.
- `references`: rings of references, which manifests cannot have.
- `fold`: documents that repeat in many projects, as one with `for_each`.
- `files`: manifests in folders, as a person would write them.
- `yaml_text`: the text of a document.
"""
