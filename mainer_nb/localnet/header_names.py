"""Names of HTTP headers (RFC 9110, section 5.1), those that canisters give as well as those that they get."""

from __future__ import annotations

import re

#: A token (RFC 9110, section 5.6.2).
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
