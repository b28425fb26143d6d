"""One file for each group of rows: a function from the effort to rows."""
