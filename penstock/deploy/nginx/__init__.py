"""nginx in front: what its files say (`reading`, `servers`), whether that is safe (`rules`), and a site of ours.

`reading` is the only module that imports crossplane, and only when a file is read.
"""
