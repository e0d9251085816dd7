"""What is stored: entries of the guest book."""

from __future__ import annotations

from django.db import models


class Entry(models.Model):
    """One entry, with an optional uploaded file."""

    author = models.CharField(max_length=80)
    message = models.TextField()
    attachment = models.FileField(upload_to="attachments/%Y/%m/", blank=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        """The newest first, everywhere."""

        ordering = ["-created", "-id"]
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        """Name the entry in the admin."""
        return f"{self.author}: {self.message[:40]}"
