"""The demo's one app: a guest book with attachments, and views for everything that a server has to get right."""
