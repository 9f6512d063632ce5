"""Identifiers with the prefixes and lengths of the real API.

Clients must treat them as opaque; only their shape is imitated.
"""

from __future__ import annotations

import random
import secrets
import string

_ALPHANUMERIC = string.ascii_letters + string.digits
_RANDOM = random.SystemRandom()


def _text(length: int) -> str:
    return "".join(_RANDOM.choices(_ALPHANUMERIC, k=length))


# Prefix, number of characters, whether they are hexadecimal. Every kind of object has an entry.
_SHAPES: dict[str, tuple[str, int, bool]] = {
    "project": ("proj_", 24, False),
    "service_account": ("svc_acct_", 24, False),
    "api_key": ("key_", 16, False),
    "user": ("user-", 24, False),
    "group": ("group_", 24, False),
    "role": ("role_", 24, False),
    "invite": ("invite-", 24, False),
    "spend_alert": ("alert_", 24, False),
    "certificate": ("cert_", 24, False),
    "external_key": ("extkey_", 24, False),
    "external_storage": ("extstg_", 24, False),
    "identity_provider": ("wip_", 24, False),
    "federation_rule": ("wifr_", 24, False),
    "audit_log": ("audit_log-", 24, False),
    "file": ("file-", 22, False),
    "upload": ("upload_", 32, True),
    "part": ("part_", 32, True),
    "vector_store": ("vs_", 32, True),
    "file_batch": ("vsfb_", 32, True),
    "assistant": ("asst_", 24, False),
    "webhook": ("wh_", 32, True),
    "container": ("cntr_", 32, True),
    "container_file": ("cfile_", 32, True),
    "conversation": ("conv_", 48, True),
    "message": ("msg_", 48, True),
    "thread": ("thread_", 24, False),
    "thread_message": ("msg_", 24, False),
    "run": ("run_", 24, False),
    "run_step": ("step_", 24, False),
    "tool_call": ("call_", 24, False),
    "skill": ("skill_", 48, True),
    "skill_version": ("skillver_", 48, True),
    "checkpoint_permission": ("cp_", 24, False),
    "agent": ("agent_", 32, True),
    "environment_template": ("envtmpl_", 32, True),
    "automation": ("auto_", 32, True),
    "invocation": ("autoinv_", 32, True),
    "vault": ("vault_", 32, True),
    "credential": ("vcred_", 32, True),
    "batch": ("batch_", 32, True),
    "fine_tuning_job": ("ftjob-", 24, False),
    "eval": ("eval_", 32, True),
    "eval_run": ("evalrun_", 32, True),
    "output_item": ("outputitem_", 32, True),
    "chat_completion": ("chatcmpl-", 28, False),
    "completion": ("cmpl-", 28, False),
    "moderation": ("modr-", 32, True),
    "response": ("resp_", 48, True),
    "compaction": ("cmp_", 48, True),
    "function_call": ("fc_", 48, True),
    "file_search_call": ("fs_", 48, True),
    "agent_session": ("sess_", 32, True),
    "turn": ("turn_", 32, True),
    "session": ("sess_", 24, False),
    "chatkit_session": ("cksess_", 32, True),
    "request": ("req_", 32, True),
}


def fresh(kind: str) -> str:
    """Return a new identifier for an object of this kind."""
    prefix, length, hexadecimal = _SHAPES[kind]
    return prefix + (secrets.token_hex(length // 2) if hexadecimal else _text(length))


def secret_admin_key() -> str:
    """Return the value of a new admin key."""
    return f"sk-admin-{_text(48)}"


def secret_key() -> str:
    """Return the value of a new service-account key."""
    return f"sk-svcacct-{_text(48)}"


def ephemeral_key() -> str:
    """Return the value of a short-lived key for browsers."""
    return f"ek_{_text(40)}"


def signing_secret() -> str:
    """Return the signing secret of a webhook."""
    return f"whsec_{_text(43)}="
