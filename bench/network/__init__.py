"""Hosts for sites under measurement: network namespaces, with a line of a given quality between them."""
