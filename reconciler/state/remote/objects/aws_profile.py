"""Keys and the region of a profile in ~/.aws, which the library does not read."""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser, Error, SectionProxy
from pathlib import Path

from reconciler.errors import StateError

_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_OTHER_SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_SKIP_SIGNATURE",
)
"""Variables that come before a profile, as in AWS's own programs."""


def profile_settings(env: Mapping[str, str]) -> dict[str, str]:
    """Keys and region of AWS_PROFILE, or of the default profile; no keys where variables give them.

    Raises StateError if AWS_PROFILE names a profile that does not exist or contains no keys.
    """
    name = env.get("AWS_PROFILE") or "default"
    home = Path(env.get("HOME") or env.get("USERPROFILE") or Path.home())
    credentials = _section(
        Path(env.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"), name
    )
    configuration = _section(
        Path(env.get("AWS_CONFIG_FILE") or home / ".aws" / "config"),
        name if name == "default" else f"profile {name}",
    )
    settings = {}
    for setting in _KEYS:
        value = credentials.get(setting) or configuration.get(setting)
        if value:
            settings[setting] = value
    region = credentials.get("region") or configuration.get("region") or ""
    if any(env.get(variable) for variable in _OTHER_SOURCES):
        settings = {}
    elif "aws_access_key_id" not in settings and env.get("AWS_PROFILE"):
        raise StateError(
            f"The AWS profile {name!r} contains no access key.",
            hint=f'Run: eval "$(aws configure export-credentials --profile {name} --format env)"',
        )
    # The library would prefer AWS_REGION to AWS_DEFAULT_REGION, which must win over a profile.
    if region and not env.get("AWS_REGION") and not env.get("AWS_DEFAULT_REGION"):
        settings["aws_region"] = region
    return settings


def _section(path: Path, name: str) -> SectionProxy | Mapping[str, str]:
    parser = ConfigParser(interpolation=None, default_section="", strict=False)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"The AWS configuration file {path} cannot be read.") from error
    try:
        parser.read_string(text)
    except Error:
        # The parser's message quotes the line, which may be a key.
        raise StateError(f"The AWS configuration file {path} is malformed.") from None
    return parser[name] if parser.has_section(name) else {}
