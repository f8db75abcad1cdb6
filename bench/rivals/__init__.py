"""What users would write instead, each as its own users write it, and ours in the same harness.

python -m bench.rivals NAME WRITES URL...

Every module has a class `Rival`; `bench.rivals.drive` says what one is.
"""
