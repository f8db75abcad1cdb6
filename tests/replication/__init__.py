"""A primary, its replicas and the faults between them, for the tests of the whole."""
