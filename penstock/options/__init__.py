"""The option table: declarations only.

Each option is declared once, in the file of its section; everything else (parsing, help, reference pages, checks) is
generated from `penstock.options.table`. Nothing here reads a file, an environment or the machine.
"""
