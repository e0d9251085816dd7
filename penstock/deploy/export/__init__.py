"""Exports: what an image, a compose file, a cluster's manifest or a platform needs to run this project with Penstock.

`service` makes one value of all that is known (project, Django, plan); everything else here is a pure function from it
to files. Nothing is asked of Docker, a cluster or a network. Each file says in comments why it says what it says.
"""
