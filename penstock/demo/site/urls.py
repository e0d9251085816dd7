"""URLs of the project."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.static import serve

admin.site.site_header = "Penstock demo"

urlpatterns = [
    path("admin/", admin.site.urls),
    # In the demo's penstock.ini static-map answers these two before the app is asked; without it, the app does.
    path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
    path("media/<path:path>", serve, {"document_root": settings.MEDIA_ROOT}),
    path("", include("penstock.demo.guestbook.urls")),
]
