"""The node: what a site knows, keeps and owes. Faces live in `services`."""

__version__ = "0.1.0"
