"""Crashes, stops, cut networks, full disks and damaged files, and a check that misses nothing.

`python -m chaos` runs it all; `tests/whole/test_chaos.py` is its short form.
"""
