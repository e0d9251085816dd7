"""The form behind a new entry."""

from __future__ import annotations

from django import forms

from penstock.demo.guestbook.models import Entry


class EntryForm(forms.ModelForm):
    """An entry as a visitor writes it."""

    class Meta:
        """Everything but the date."""

        model = Entry
        fields = ["author", "message", "attachment"]
