"""Notices critical states, and tells each of them once, and once when it is over."""
