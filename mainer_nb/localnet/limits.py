"""How many instructions each kind of message may take (dfinity/developer-docs, "Resource limits")."""

from __future__ import annotations

UPDATE_LIMIT = 40_000_000_000
QUERY_LIMIT = 5_000_000_000
INSTALL_LIMIT = 300_000_000_000
INSPECT_LIMIT = 200_000_000
