"""The scenes, one a file: what is done on the stage, the evidence, and what follows from it."""
