"""The management canister, ``aaaaa-aa`` (IC interface specification, "The IC management canister").

One module a concern; each adds its methods to the table in `methods`, which knows who may call them:

| module       | methods                                                                              |
|--------------|--------------------------------------------------------------------------------------|
| creation     | create_canister, delete_canister and the provisional creation                        |
| settings     | update_settings                                                                      |
| code         | install_code, install_chunked_code, uninstall_code                                   |
| chunks       | upload_chunk, stored_chunks, clear_chunk_store                                       |
| lifecycle    | start_canister, stop_canister                                                        |
| info         | canister_status, canister_metrics, canister_info, canister_metadata, subnet_info,     |
|              | fetch_canister_logs                                                                  |
| snapshots    | take, load, list, delete, read and upload canister snapshots                         |
| signing      | ECDSA, Schnorr and vetKD with development keys                                       |
| http_request | HTTPS outcalls, if the network makes them                                            |
| system       | raw_rand, deposit_cycles, provisional top-up, and what this network refuses          |
"""

from __future__ import annotations

from . import chunks, code, creation, http_request, info, lifecycle, settings, signing, snapshots, system
from .code import uninstall, uninstallation
from .methods import INTERFACE, METHODS, Answer, check_ingress, handle, is_only_query, named_canister, query, target
from .system import FREE_FOR_USERS

__all__ = [
    "FREE_FOR_USERS",
    "INTERFACE",
    "METHODS",
    "Answer",
    "check_ingress",
    "chunks",
    "code",
    "creation",
    "handle",
    "http_request",
    "info",
    "is_only_query",
    "lifecycle",
    "named_canister",
    "query",
    "settings",
    "signing",
    "snapshots",
    "system",
    "target",
    "uninstall",
    "uninstallation",
]
