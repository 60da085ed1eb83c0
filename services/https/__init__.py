"""HTTPS between nodes: a server that knows who calls, and a client that knows whom it calls."""
