"""Turns text into desired state: documents, expressions, validation, resources."""

from reconciler.manifests.closed import Remembered
from reconciler.manifests.configuration import (
    Configuration,
    Credential,
    Credentials,
    GivenInputs,
    Guards,
    Settings,
    Stack,
)
from reconciler.manifests.configuration_loader import load_configuration, load_stack
from reconciler.manifests.credentials import check_credentials
from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.problems import ValueProblem

__all__ = [
    "Configuration",
    "Credential",
    "Credentials",
    "GivenInputs",
    "Guards",
    "ParsedFiles",
    "Remembered",
    "Settings",
    "Stack",
    "ValueProblem",
    "check_credentials",
    "load_configuration",
    "load_stack",
]
