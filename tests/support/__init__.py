"""Real processes and scripted faults for the tests."""
