"""What is measured: each module has `run(quick)`, which returns its numbers."""
