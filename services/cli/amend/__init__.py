"""Decisions about what is archived: corrections, merges, withdrawals, locks."""
