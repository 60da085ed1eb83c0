"""The node as SOAP services: contracts, the door that serves them, the client that calls them."""
