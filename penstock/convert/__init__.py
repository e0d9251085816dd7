"""A configuration from one kind of file to another, and gunicorn's: text in, text out, and what is to know about it.

    text -> reading -> Document -> translate -> Document -> writing -> text -> check

A `Document` is what somebody wrote, with its placeholders, blocks and comments; nothing of it is filled in, so that the
result means the same on every machine. Nothing here prints or writes a file. What was written is read again and
compared with the source before anybody gets it (`check`).
"""
