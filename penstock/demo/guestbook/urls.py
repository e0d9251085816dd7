"""URLs of the guest book and of the views that exercise a server."""

from __future__ import annotations

from django.urls import path

from penstock.demo.guestbook import views

urlpatterns = [
    path("", views.index, name="index"),
    path("entries/", views.entries, name="entries"),
    path("entries/new/", views.new_entry, name="new-entry"),
    path("plain/", views.plain, name="plain"),
    path("whoami/", views.whoami, name="whoami"),
    path("slow/", views.slow, name="slow"),
    path("stream/", views.stream, name="stream"),
    path("count/", views.count, name="count"),
    path("error/", views.error, name="error"),
]
