"""What a report does not show."""

from __future__ import annotations

import pytest

from penstock.options.secrets import is_secret_name, plan_without_secrets, shown, without_secrets


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("SECRET_KEY", True), ("DB_PASSWORD", True), ("api_key", True), ("APIKEY", True), ("AWS_ACCESS_KEY_ID", True),
        ("REDIS_PASS", True), ("GITHUB_TOKEN", True), ("LANG", False), ("MONKEY", False), ("KEYBOARD", False),
        ("PASSAGE", False), ("COMPASS", False),
    ],
)  # fmt: skip
def test_names_of_secrets(name: str, is_secret: bool) -> None:
    assert is_secret_name(name) is is_secret


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("basicauth:Admins only,joe:pass word", "basicauth:Admins only,joe:***"),
        ("equal:a;b basicauth-next:X,joe:p,w", "equal:a;b basicauth-next:X,joe:***"),
        ("^/x basicauth:Admins,/etc/users", "^/x basicauth:Admins,/etc/users"),
        ("redis://:pw@host:6379/0 and http://u:p@h", "redis://:***@host:6379/0 and http://u:***@h"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
    ],
)
def test_passwords_in_a_text(text: str, left: str) -> None:
    assert without_secrets(text) == left


def test_values_of_options() -> None:
    assert shown("env", "DATABASE_URL=postgres://u:pw@db/x") == "DATABASE_URL=postgres://u:***@db/x"
    assert shown("db-password", "x") == "***", "a variable of the user's own"
    assert shown("ssl-sessions-use-cache", "x") == "x" and shown("threads", 4) == 4 and shown("master", None) is None


def test_a_plan() -> None:
    plan = {
        "app": {
            "environment": [("SECRET_KEY", "a"), ("LANG", "C"), ("TOKEN", None)],
            "options": [("env", "SECRET_KEY=a"), ("master", None)],
        },
        "rules": [
            {"action": "basicauth", "arguments": [[("text", "Admins")], [("text", "joe:pw")]]},
            {"action": "basicauth-next", "arguments": [[("text", "Admins")], [("var", "X"), ("text", "pw")]]},
            {"action": "log", "arguments": [[("text", "a:b")]]},
        ],
    }
    assert plan_without_secrets(plan) == {
        "app": {
            "environment": [["SECRET_KEY", "***"], ["LANG", "C"], ["TOKEN", None]],
            "options": [["env", "SECRET_KEY=***"], ["master", None]],
        },
        "rules": [
            {"action": "basicauth", "arguments": [[["text", "Admins"]], [["text", "joe:***"]]]},
            {"action": "basicauth-next", "arguments": [[["text", "Admins"]], [["text", ":***"]]]},
            {"action": "log", "arguments": [[["text", "a:b"]]]},
        ],
    }
