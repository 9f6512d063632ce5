"""The supported providers."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.terraform.mapping import TerraformProvider
from reconciler.terraform.mapping_jianyuan import PROVIDER as JIANYUAN
from reconciler.terraform.mapping_mkdev import PROVIDER as MKDEV
from reconciler.terraform.mapping_openai import PROVIDER as OPENAI

PROVIDERS: Mapping[str, TerraformProvider] = {
    provider.name: provider for provider in (OPENAI, MKDEV, JIANYUAN)
}
"""By namespace and type, as in `openai/openai`."""
