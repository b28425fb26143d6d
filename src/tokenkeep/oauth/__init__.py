"""The OAuth and OpenID Connect client: the protocol as values, one transport, two ways to log in.

Only `transport`, `loopback`, `client` and `login` do input or output.
"""
