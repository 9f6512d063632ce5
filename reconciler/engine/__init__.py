"""From three states to a plan, and from a plan to outcomes. Knows kinds only by what they declare."""
