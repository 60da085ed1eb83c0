"""Replication: facts and bytes between sites, copies proved, and what is still owed."""
