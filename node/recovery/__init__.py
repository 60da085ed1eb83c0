"""Finds and repairs: what is lost is made again from what is left."""
