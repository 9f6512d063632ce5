"""Turns objects that exist into manifests: from the live organization, or from another tool's state.

- `resource`: one object and the declaration that it would have.
- `naming`: addresses from natural keys.
- `files`: manifests in folders, as a person would write them.
"""
