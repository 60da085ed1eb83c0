"""Bytes: immutable, named by their digest, on disk before anybody is told so."""
