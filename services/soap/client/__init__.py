"""Calling the SOAP services of another node: zeep over a transport that trusts nothing."""
