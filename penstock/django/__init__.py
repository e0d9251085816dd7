"""Penstock as an app of a Django project: `INSTALLED_APPS = [..., "penstock.django"]`.

`manage.py penstock` is a development server on the engine that serves in production, `manage.py check --tag penstock`
looks at the settings as `penstock doctor` does, and `logs.RequestId` puts the id of a request into each line that is
logged for it. Imported by the project's interpreter; nothing of the server's own start knows of it.
"""
