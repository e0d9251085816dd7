"""A small real Django project: served by the README's first command, and by the end-to-end tests.

`site` holds the project (settings, URLs, `site.wsgi:application`), `guestbook` its one app. Nothing of the server
itself is here, and the server knows nothing of it. Needs Django.
"""
