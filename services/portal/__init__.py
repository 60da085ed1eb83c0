"""The portal: what people see of a node in a browser."""
