"""The doors of the house: one face per protocol, each a thin voice of the node."""
