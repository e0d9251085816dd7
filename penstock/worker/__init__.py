"""Inside the child: what a generation and its workers do before, around and after the engine.

Imported by the app's own interpreter, so nothing here may import more than the standard library, `penstock.plan.types`
and `penstock._engine`. Nothing here decides about other processes: that is the master's.
"""
