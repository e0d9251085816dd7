"""gunicorn's configuration as Penstock's: `gunicorn.conf.py`, read as data, and command lines.

`settings` is what gunicorn knows and what becomes of it, as data; `config_file` and `command_line` find out what was
said; `mapping` makes a document of it.
"""
