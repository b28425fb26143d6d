"""The story of a session, played on this machine with real parts, and checked at every step.

A scene acts and gathers evidence; what follows from the evidence is a function on values, so that
a test can show that each check is able to fail.
"""
