"""What each kind of message may take of a canister (dfinity/developer-docs, "Resource limits")."""

from __future__ import annotations

#: Instructions.
UPDATE_LIMIT = 40_000_000_000
QUERY_LIMIT = 5_000_000_000
INSTALL_LIMIT = 300_000_000_000
INSPECT_LIMIT = 200_000_000
#: Bytes of stable memory, in whole pages, that a message may read or write; so many an installation, and a query.
ACCESS_LIMIT = 2 * 1024**3
INSTALL_ACCESS_LIMIT = 8 * 1024**3
QUERY_ACCESS_LIMIT = 1024**3
#: Bytes of heap, and of stable memory, that a message may write to, an installation or upgrade, a replicated query.
WRITE_LIMIT = 2 * 1024**3
INSTALL_WRITE_LIMIT = 8 * 1024**3
QUERY_WRITE_LIMIT = 1024**3
#: Limit of this network, since here a system call takes longer than what it counts as: seconds of a thread's processor
#: time, unless wasm instructions explain it, of which the slowest machine executes so many a second.
SYSTEM_CALL_SECONDS = 60.0
INSTRUCTIONS_PER_SECOND = 250_000_000
