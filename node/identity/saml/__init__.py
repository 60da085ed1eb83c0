"""Logging in with the account of the own institution (SAML 2.0 Web Browser SSO)."""
