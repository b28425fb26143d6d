"""Moving secrets here from another store or an older format; one file for each place."""
