"""Random schemas and statements: the rows of a primary and of its replica are equal after each."""
