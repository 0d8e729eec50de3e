"""A visitor without a browser: opens pages, sends forms, follows redirects, keeps cookies."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from django.test import Client

MAX_REDIRECTS = 5


@dataclass(frozen=True)
class Form:
    """A form as a browser would send it untouched."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)

    def filled(self, **changed: object) -> "Form":
        """Return the form with some of its fields filled in otherwise."""
        names = {name.replace("__", "-"): str(value) for name, value in changed.items()}
        return Form(self.action, self.fields | names)


@dataclass(frozen=True)
class Page:
    """Where a click ended: the page, and the responses on the way to it."""

    status: int
    path: str
    text: str
    headers: dict[str, str]
    trail: list[tuple[int, str]] = field(default_factory=list)
    replayed: bool = False

    @property
    def forms(self) -> list[Form]:
        return forms_of(self.text)

    def form(self, action: str) -> Form:
        """Return the first form whose action ends so."""
        found = [form for form in self.forms if form.action.endswith(action)]
        assert found, f"no form to {action} on {self.path}: {[f.action for f in self.forms]}"
        return found[0]

    def says(self, words: str) -> bool:
        return words in " ".join(unescape(self.text).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.elsewhere: list[tuple[str, Form]] = []  # where a button of a form leads
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        elif tag == "input" and self.forms and "name" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button" and "formaction" in given:
            self.elsewhere.append((given["formaction"], self.forms[-1]))
        elif tag == "select":
            self._select = given["name"]
        elif tag == "option" and self._select:
            self.forms[-1].fields.setdefault(self._select, given["value"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""


def forms_of(text: str) -> list[Form]:
    """Return the forms of a page."""
    reader = _Reader()
    reader.feed(text)
    return reader.forms + [Form(action, form.fields) for action, form in reader.elsewhere]


Response = tuple[int, dict[str, str], str]
Ask = Callable[[str, str, "dict[str, str] | None"], Response]


class Visitor:
    """Somebody who looks at pages and sends their forms."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def open(self, path: str) -> Page:
        return self._follow("GET", path, None)

    def send(self, form: Form) -> Page:
        """Send a form, and follow where it leads."""
        return self._follow("POST", form.action, form.fields)

    def _follow(self, method: str, path: str, fields: dict[str, str] | None) -> Page:
        trail: list[tuple[int, str]] = []
        replayed = False
        for _ in range(MAX_REDIRECTS):
            status, headers, text = self.ask(method, path, fields)
            trail.append((status, path))
            replayed = replayed or headers.get("Idempotent-Replayed") == "true"
            if status not in {301, 302, 303}:
                return Page(status, path, text, headers, trail, replayed)
            path, method, fields = urljoin(path, headers["Location"]), "GET", None
        raise AssertionError(f"redirected in circles: {trail}")


def through(client: Client) -> Visitor:
    """Return a visitor who uses Django's test client."""

    def ask(method: str, path: str, fields: dict[str, str] | None) -> Response:
        response: Any = client.generic(
            method,
            path,
            urlencode(fields) if fields is not None else "",
            "application/x-www-form-urlencoded",
        )
        return response.status_code, dict(response.items()), response.text

    return Visitor(ask)


class _Jar:
    """A browser's connection to a server: one a request, with the cookies that were set."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url, self.timeout = url, timeout
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, fields: dict[str, str] | None) -> Response:
        sent = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = urllib3.request(
            method,
            self.url + path,
            body=None if fields is None else urlencode(fields),
            headers={"Cookie": sent, "Content-Type": "application/x-www-form-urlencoded"},
            timeout=self.timeout,
            retries=False,
            redirect=False,
        )
        for line in response.headers.getlist("Set-Cookie"):
            self.cookies |= {name: found.value for name, found in SimpleCookie(line).items()}
        return response.status, dict(response.headers), response.data.decode()


def over_the_network(url: str, *, timeout: float = 40) -> Visitor:
    """Return a visitor of a live server."""
    assert urlsplit(url).hostname == "127.0.0.1"
    return Visitor(_Jar(url, timeout).ask)


def signed_in(url: str, *, username: str, password: str) -> Visitor:
    """Return a visitor of a live server who has signed in through its page."""
    visitor = over_the_network(url)
    form = [form for form in visitor.open("/sign-in/").forms if form.fields.get("username") == ""]
    page = visitor.send(
        Form("/sign-in/", form[0].fields | {"username": username, "password": password})
    )
    assert page.status == 200, page.text
    assert page.path == "/"
    return visitor
