"""Two identity providers for the demonstration, which prove nothing: whoever asks is whom they say to be.

As far as a portal can tell they are what SAML 2.0 makes of an identity provider: they verify who asks, sign
what they say and encrypt it for the portal alone. But nobody needs a password. So they listen on this machine
only and say on every page and in their metadata (entity attribute `urn:konzilium:demonstration`) what they
are, and no site believes them that was not made for demonstration (`login.demonstration`).

`python -m services.cli.demo.idp FOLDER` serves those that `houses.made` has put into a folder.
"""
