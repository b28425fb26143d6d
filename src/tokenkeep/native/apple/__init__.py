"""Apple's CoreFoundation and Security frameworks through ctypes, with the one table of OSStatus."""
