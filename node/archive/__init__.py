"""The doors of the node: admit, search, select, open, vouch, settle."""
