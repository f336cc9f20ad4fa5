"""Secrets in addresses, hidden before anything is printed or kept: the one place that does."""

import re

# A name and a password, which may hold /, ? and @ unescaped, where no parser would find its end:
# it is taken to the last @. What could be a port is none.
_NAMED = r"[^\s/:@\[]+:(?!\d{1,5}[/?#])"
# Both in the password or in a query: nobody can tell what is what, and nothing is shown.
_UNCLEAR = re.compile(rf"://{_NAMED}\S*\?\S*@\S*")
_CREDENTIALS = re.compile(rf"://(?:{_NAMED}(?:(?!://)\S)*|[^\s/?#]*)@")
_QUERY = re.compile(r"(://[^\s?]*)\?\S+")


def masked(text: str, *, address: str = "") -> str:
    """Returns `text` with the credentials and queries of the addresses in it replaced by `***`.

    Scheme, host, port and path stay, and all that is no address. A query goes up to the next blank.
    The credentials of `address`, the one that `text` speaks of, go wherever they stand.
    """
    if credentials := address.partition("://")[2].rpartition("@")[0]:
        text = text.replace(credentials, "***")
    text = _CREDENTIALS.sub("://***@", _UNCLEAR.sub("://***", text))
    return _QUERY.sub(r"\1?***", text)
