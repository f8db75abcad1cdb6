"""One module for each thing that the tracker knows."""
