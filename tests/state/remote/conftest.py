"""Real servers."""

from __future__ import annotations

from tests.servers.object_stores import azure_place, azurite, place, proxied, s3_place, s3_server

__all__ = ["azure_place", "azurite", "place", "proxied", "s3_place", "s3_server"]
