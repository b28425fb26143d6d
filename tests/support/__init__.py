"""What several tests share. Fakes live here or, where applications want them, in the package."""
