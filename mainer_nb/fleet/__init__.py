"""Operate many canisters at once: watch, upgrade, rehearse, refill, remove, repair."""
