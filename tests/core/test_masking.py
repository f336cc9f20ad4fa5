"""Secrets in addresses reach no message, whatever characters they are made of."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headstart.core.masking import masked

SCHEMES = ("https", "http", "postgresql", "mysql+pymysql", "s3")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:token@host/x", "https://***@host/x"),
        ("https://token@host/x", "https://***@host/x"),
        ("https://user:@host/x", "https://***@host/x"),
        ("https://:password@host/x", "https://***@host/x"),
        ("https://user:p%40ss@host:8443/x", "https://***@host:8443/x"),
        ("postgresql://user:12345@host:5432/base", "postgresql://***@host:5432/base"),
        ("postgresql://user:p/s@s#@host:5432/base", "postgresql://***@host:5432/base"),
        ("postgresql://user:p?ss@host:5432/base", "postgresql://***"),
        ("https://user:pass@host/x?mail=a@b see", "https://*** see"),
        ("see http://a:b@c/ and http://d:e@f/", "see http://***@c/ and http://***@f/"),
        ("http://a:b@c/,http://d:e@f/", "http://***@c/,http://***@f/"),
        ("(http://a:b@[::1]:5000/x)", "(http://***@[::1]:5000/x)"),
        ("https://host/x?token=1", "https://host/x?***"),
        ("https://host?X-Amz-Signature=a&b=c%20d then", "https://host?*** then"),
        ("https://host/x?next=http://user:token@other/?y=1", "https://host/x?***"),
        ("https://user:token@host/x?mail=a.b", "https://***@host/x?***"),
    ],
)
def test_credentials_and_queries_are_hidden_and_the_rest_is_shown(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://host/x",
        "https://host:8080/package@1.2/x",
        "https://host/@scope/package",
        "http://[::1]:5000/package@1.2",
        "http://127.0.0.1:5000, or write to somebody@example.org",
        "sqlite:////home/me/mlflow.db",
        "apt:dataset-fashion-mnist",
        "git@example.org:me/project.git",
        "~/mail@home/x",
        "what? nothing",
        "",
    ],
)
def test_what_holds_no_secret_is_left_as_it_is(text: str) -> None:
    assert masked(text) == text


# Letters that stand nowhere else in the addresses below, and everything that is no letter.
_SECRET = st.text(
    st.one_of(
        st.sampled_from("QXZ"), st.sampled_from("/?#@:%+=&;,.-_~!$'()*[]\"\\|^`{}<>é漢0123456789")
    ),
    min_size=1,
    max_size=12,
)


@given(
    scheme=st.sampled_from(SCHEMES),
    user=st.text(st.sampled_from("QXZ0123456789.-_%+"), min_size=1, max_size=6),
    password=_SECRET.filter(lambda text: "://" not in text),
)
@example(scheme="https", user="QQ", password="X@Z/X@Z?Q#X")
def test_no_letter_of_user_or_password_is_shown_whatever_else_is_in_it(
    scheme: str, user: str, password: str
) -> None:
    # 80/x could be a port and a path: such a password has to be escaped, as parsers ask for.
    password = f"Q{password}"
    shown = masked(f"{scheme}://{user}:{password}@host.example:5432/path")
    assert not set("QXZ") & set(shown)
    assert shown in (f"{scheme}://***", f"{scheme}://***@host.example:5432/path")
    assert shown.endswith("/path") or "?" in password


@given(query=_SECRET)
def test_no_letter_of_a_query_is_shown_whatever_else_is_in_it(query: str) -> None:
    for who in ("", "user:token@", "token@"):
        shown = masked(f"see https://{who}host.example/path?{query} for more")
        assert not set("QXZ") & set(shown)
        assert "token" not in shown
        assert shown.endswith("?*** for more" if not who else "*** for more")


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("failed for me:se/cret (x)", "failed for *** (x)"),
        ("at http://me:se/cret@host:5000/x", "at http://***@host:5000/x"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_credentials_of_the_address_are_hidden_wherever_they_stand(text: str, shown: str) -> None:
    assert masked(text, address="http://me:se/cret@host:5000") == shown
