"""One file for each OAuth client: the way an application uses it, up to one HTTP request.

Clients that keep nothing themselves get what their documentation recommends: a token file that is
read at start and written when the client says that the token changed.
"""
