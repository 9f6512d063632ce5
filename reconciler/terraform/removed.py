"""The `removed` blocks that make Terraform forget objects without destroying them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.terraform.conversion import SkippedInstance
from reconciler.terraform.state import TerraformInstance

FILE_NAME = "terraform-removed.tf"

_HEADER = """\
# Makes Terraform (1.7 or later, or OpenTofu 1.7 or later) forget the objects that reconciler
# manages now, without destroying them:
#
#   1. Copy this file into the Terraform configuration.
#   2. Delete the resource blocks that it names, and every reference to them.
#   3. Run `terraform plan`. It must say that nothing is destroyed. Then run `terraform apply`.
#   4. Run `reconciler import --terraform-released`.
"""

_BLOCK = """
removed {{
  from = {address}

  lifecycle {{
    destroy = false
  }}
}}
"""

_PARTLY = """
# Only some instances of these resources were carried over, and a `removed` block names all of
# them. Keep the resource blocks for the others, and remove these instances one by one:
"""


def removed_blocks(
    carried_over: Sequence[TerraformInstance], left_out: Iterable[SkippedInstance]
) -> str:
    """The text of the file. Instance keys are not allowed in `removed` blocks."""
    kept = {entry.instance.configuration_address for entry in left_out}
    blocks: dict[str, None] = {}
    commands: dict[str, None] = {}
    for instance in carried_over:
        if instance.configuration_address in kept:
            quoted = instance.address.replace("'", "'\\''")
            commands[f"#   terraform state rm '{quoted}'\n"] = None
        else:
            blocks[_BLOCK.format(address=instance.configuration_address)] = None
    text = _HEADER + "".join(sorted(blocks))
    if commands:
        text += _PARTLY + "".join(commands)
    return text
