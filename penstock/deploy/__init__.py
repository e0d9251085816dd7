"""What stands around an instance: the files that it needs on a machine, and how they get there and away again.

Generators are pure: from facts and a plan to `Artifact` values (`artifact.py`). What those differ in from the machine,
how they are written and how they are taken away is the same for all of them.
"""
