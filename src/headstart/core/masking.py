"""Secrets in addresses, hidden before anything is printed or kept."""

import re


def masked(text: str) -> str:
    """Returns `text` with the credentials and queries of the URLs in it replaced by `***`."""
    # The second form is a password with an unescaped slash, which no URL parser would find.
    text = re.sub(r"://(?:[^\s/?#]*|[^\s/:@]+:(?!\d+/)[^\s@]*)@", "://***@", text)
    return re.sub(r"(://[^\s?#]*)\?[^\s#]+", r"\1?***", text)
