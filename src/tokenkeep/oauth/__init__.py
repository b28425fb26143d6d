"""The OAuth and OpenID Connect client: the protocol as values, one transport, two ways to log in.

`urls`, `wire`, `provider`, `metadata`, `messages`, `outcome` and `answers` do no input or output.
"""
