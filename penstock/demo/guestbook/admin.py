"""The guest book in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from penstock.demo.guestbook.models import Entry


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    """List, search and filter entries."""

    list_display = ["author", "message", "attachment", "created"]
    list_filter = ["created"]
    search_fields = ["author", "message"]
