"""Which names HTTP headers may have (RFC 9110, section 5.1), in requests and in answers of canisters."""

from __future__ import annotations

import re

#: A token (RFC 9110, section 5.6.2).
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
