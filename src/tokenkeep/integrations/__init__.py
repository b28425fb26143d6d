"""One file for each library we plug into. Each imports its library and nothing else does."""
