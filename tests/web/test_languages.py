"""English and Simplified Chinese: every text for people, and no text for programs."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.messages import get_messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import Model
from django.db.models.functions import Now
from django.http import UnreadablePostError
from django.test import Client
from django.urls import reverse
from django.utils.translation import override
from django.utils.translation.template import templatize
from rest_framework.test import APIClient

from idempotency import errors, tokens
from idempotency.journal import recorder
from idempotency.journal.models import JournaledRequest, Outcome
from idempotency.models import Record, Token
from orders import outbox
from orders.admin import texts as orders_admin
from orders.errors import MixedCurrencies, OrderNotFound, ProductNotFound
from orders.models import Order, PaymentRequest, Product
from orders.services import advance
from payments.errors import AccountNotFound, CurrencyMismatch, PaymentMismatch
from payments.models import Account, Payment
from payments.services import open_account
from tests.conftest import LONG_WINDOW
from tests.support.languages import CHINESE, chinese, untranslated
from web.catalogue import BY_STATUS, CATALOGUE
from web.problems import for_status

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = sorted(ROOT.glob("*/locale/zh_Hans/LC_MESSAGES/django.po"))
APPS = (
    "config",
    "demo",
    "idempotency",
    "lab",
    "operations",
    "orders",
    "payments",
    "shop",
    "simulator",
    "web",
)
ZH = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}
EN = {"Accept-Language": "en"}
MODELS: list[type[Model]] = sorted(admin.site._registry, key=lambda model: model._meta.label)
ORDERS = "/api/v1/orders/"


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:{name}", args=args)


def pages_of(model: type[Model], client: Client) -> Iterator[str]:
    """Yield the pages of a model that there are: list, additions, and those of every row."""
    name = f"{model._meta.app_label}_{model._meta.model_name}"
    yield page(f"{name}_changelist")
    for row in model._default_manager.all():
        yield page(f"{name}_change", row.pk)
        yield page(f"{name}_history", row.pk)
    for url in (page(f"{name}_add"), page(f"{name}_delete", row.pk)):
        if client.get(url).status_code == 200:
            yield url


def shown(client: Client, url: str, language: dict[str, str]) -> str:
    response = client.get(url, headers=language, follow=True)
    assert response.status_code == 200, url
    return response.text


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss")


@pytest.fixture
def as_boss(boss: User, client: Client) -> Client:
    client.force_login(boss)
    return client


def pay(client: APIClient, order: Order, account: Account, *, key: str = "", **headers: str) -> Any:
    return client.post(
        f"{ORDERS}{order.pk}/pay/",
        {"account": account.pk},
        headers={"Idempotency-Key": key or str(uuid4()), **headers},
    )


def place_over_the_api(client: APIClient, **headers: str) -> Any:
    lines = {"lines": [{"sku": "TEA", "quantity": 2}]}
    return client.post(ORDERS, lines, headers={"Idempotency-Key": str(uuid4()), **headers})


@pytest.fixture
def everything(
    as_alice: APIClient,
    as_bob: APIClient,
    alice: User,
    bob: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    """A row of every kind, in every state that has a word of its own."""
    poor = open_account(owner=bob, currency="EUR", opening_balance=1)
    placed = place_over_the_api(as_alice)
    pay(as_alice, Order.objects.get(pk=placed.json()["id"]), alice_account)
    pay(as_bob, place(customer=bob), poor)
    place(customer=alice)
    for dead_lettered in (False, True):
        order = place(customer=alice)
        advance(order.pk, Order.start_paying, account_id=alice_account.pk)
        outbox.write(order, customer="alice", request_id="", key_digest="")
        PaymentRequest.objects.filter(order=order).update(dead_lettered=dead_lettered)
    tokens.issue(f"user:{alice.pk}")
    Record.objects.filter(status=201).update(
        status=None, body=None, retained_until=Now(), content_type="", headers={}
    )
    Group.objects.create(name="clerks")
    for outcome in Outcome:
        recorder.record(recorder.Row(outcome, "user:1"))
    recorder.flush()


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


# --- The pages


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
@pytest.mark.usefixtures("everything")
def test_every_page_of_every_model_is_in_the_readers_language(
    model: type[Model], as_boss: Client
) -> None:
    urls = list(pages_of(model, as_boss))
    with override("zh-hans"):
        names_in_english = [str(permission) for permission in Permission.objects.all()]
    names_in_english += Record.objects.values_list("scope", flat=True)
    names_in_english += Token.objects.values_list("scope", flat=True)
    names_in_english += [f"{str(order.pk)[:13]}…" for order in Order.objects.all()]
    for row in JournaledRequest.objects.all():
        steps = json.dumps(row.steps, ensure_ascii=False)
        names_in_english += filter(None, [row.scope, row.subject, row.request_id, steps])

    in_english = {
        url: untranslated(shown(as_boss, url, ZH), names=names_in_english) for url in urls
    }
    in_chinese = {url: chinese(shown(as_boss, url, EN)) for url in urls}

    assert len(urls) > 2
    assert {url: texts for url, texts in in_english.items() if texts} == {}
    assert {url: texts for url, texts in in_chinese.items() if texts} == {}


@pytest.mark.usefixtures("everything")
def test_the_admins_other_pages_are_in_the_readers_language(as_boss: Client) -> None:
    urls = [page(name) for name in ("index", "password_change")]
    urls += [page("app_list", label) for label in ("orders", "payments", "idempotency", "auth")]
    urls += [page("orders_order_submit-again", order.pk) for order in Order.objects.all()]

    assert {url: untranslated(shown(as_boss, url, ZH)) for url in urls} == {url: [] for url in urls}
    assert {url: chinese(shown(as_boss, url, EN)) for url in urls} == {url: [] for url in urls}


@pytest.mark.parametrize("name", ["admin:login", "sign-in-page"])
@pytest.mark.usefixtures("boss")
def test_the_pages_to_sign_in_are_in_the_readers_language(name: str, settings: Any) -> None:
    url, wrong = reverse(name), {"username": "boss", "password": "wrong"}
    settings.SIGN_IN_RATE = (2, LONG_WINDOW)

    form = Client().get(url, headers=ZH)
    refused = Client().post(url, wrong, headers=ZH)
    refused_in_english = Client().post(url, wrong, headers=EN)
    too_many = Client().post(url, wrong, headers=ZH)
    too_many_in_english = Client().post(url, wrong, headers=EN)

    assert [response.status_code for response in (form, refused, too_many)] == [200, 200, 429]
    assert [untranslated(response.text) for response in (form, refused, too_many)] == [[], [], []]
    for response in (Client().get(url, headers=EN), refused_in_english, too_many_in_english):
        assert chinese(response.text) == []


def test_mistakes_in_a_form_are_in_the_readers_language(as_boss: Client) -> None:
    wrong = {"sku": "", "name": "x" * 201, "price": "many", "currency": "EUR"}

    for form in (wrong, wrong | {"price": "0"}):
        response = as_boss.post(page("orders_product_add"), form, headers=ZH)
        assert response.status_code == 200
        assert untranslated(response.text, names=["x" * 201, "many"]) == []


def test_the_message_of_an_action_is_in_chinese_and_its_log_in_english(
    as_boss: Client, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    submit_again = page("orders_order_submit-again", order.pk)

    paid = as_boss.post(page("orders_order_pay", order.pk), headers=ZH)
    submitted = as_boss.post(submit_again, {"key": str(uuid4())}, headers=ZH)

    assert messages_of(paid) == ["已支付。"]
    assert messages_of(submitted)[-1] == "已再次提交：这是一个新订单。"
    new = Order.objects.exclude(pk=order.pk).get()
    assert set(LogEntry.objects.values_list("object_repr", "change_message")) == {
        (f"order {order.pk}", "Paid."),
        (f"order {new.pk}", f"Submitted again from order {order.pk}."),
    }


@pytest.mark.usefixtures("everything")
def test_the_message_of_an_action_on_many_rows_is_in_chinese(as_boss: Client) -> None:
    rows = [str(row.pk) for row in PaymentRequest.objects.all()]
    form = {"action": "requeue", "_selected_action": rows}

    response = as_boss.post(page("orders_paymentrequest_changelist"), form, headers=ZH)

    assert messages_of(response) == ["1 个请求将重新发送；其余的并未挂起。"]


def test_every_message_of_an_action_is_translated() -> None:
    messages = [*orders_admin.OUTCOMES.values(), orders_admin.BUSY, orders_admin.OTHER_TERMS]
    messages += [orders_admin.SUBMITTED_AGAIN, orders_admin.SENT_BEFORE, orders_admin.UNORDERABLE]
    with override("zh-hans"):
        texts = [str(text) for _, text in messages] + [*map(str, orders_admin.REFUSED.values())]

    assert [text for text in texts if not CHINESE.search(text)] == []


# --- The switch


@pytest.mark.parametrize("signed_in", [True, False])
def test_the_switch_sets_the_language_and_comes_back_to_the_page(
    signed_in: bool, boss: User
) -> None:
    client = Client(enforce_csrf_checks=True)
    url = f"{page('orders_order_changelist')}?q=alice" if signed_in else f"{page('login')}?next=/"
    if signed_in:
        client.force_login(boss)

    for code, name, reads_well in (
        ("zh-hans", "简体中文", untranslated),
        ("en", "English", chinese),
        ("zh-hans", "简体中文", untranslated),
    ):
        (switch,) = re.findall(
            r'<form method="post" action="/language/".*?</form>', client.get(url).text, re.DOTALL
        )
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', switch))
        assert f'<button name="language" value="{code}" lang="{code}">{name}</button>' in switch

        response = client.post("/language/", {**hidden, "language": code})

        assert (response.status_code, response["Location"]) == (302, url)
        text = client.get(url).text
        assert f'<html lang="{code}"' in text
        assert f'value="{code}" lang="{code}" aria-current="true"' in text
        assert reads_well(text) == []


# --- Problems

RAISED: list[tuple[str, Callable[[], Exception]]] = [
    ("idempotency-key-missing", errors.KeyMissing),
    ("idempotency-key-invalid", errors.KeyInvalid),
    ("idempotency-key-invalid", errors.TokenInvalid),
    ("idempotency-key-reused", errors.KeyReused),
    ("idempotency-key-in-use", errors.KeyInUse),
    ("idempotency-key-expired", errors.KeyExpired),
    ("idempotency-record-unreadable", errors.RecordUnreadable),
    ("rate-limited", lambda: errors.RateLimited(3)),
    ("validation-error", lambda: ProductNotFound("NOPE")),
    ("validation-error", MixedCurrencies),
    ("validation-error", CurrencyMismatch),
    ("not-found", OrderNotFound),
    ("not-found", AccountNotFound),
    ("payment-mismatch", lambda: PaymentMismatch(Payment())),
    ("temporarily-unavailable", OperationalError),
    ("malformed-request", UnreadablePostError),
    ("permission-denied", PermissionDenied),
    ("internal-error", ZeroDivisionError),
]
Ask = Callable[[APIClient, dict[str, str]], Any]
KEY = {"Idempotency-Key": "k"}
REFUSED: list[tuple[str, Ask]] = [
    ("not-authenticated", lambda _, headers: APIClient().get(ORDERS, headers=headers)),
    ("not-found", lambda client, headers: client.get(f"{ORDERS}{uuid4()}/", headers=headers)),
    ("not-found", lambda client, headers: client.get("/api/v1/nowhere/", headers=headers)),
    ("method-not-allowed", lambda client, headers: client.put(ORDERS, headers=headers)),
    (
        "not-acceptable",
        lambda client, headers: client.get(ORDERS, headers={**headers, "Accept": "text/html"}),
    ),
    (
        "unsupported-media-type",
        lambda client, headers: client.post(
            ORDERS, "x", content_type="text/plain", headers={**headers, **KEY}
        ),
    ),
    (
        "malformed-request",
        lambda client, headers: client.post(
            ORDERS, "{", content_type="application/json", headers={**headers, **KEY}
        ),
    ),
    ("idempotency-key-missing", lambda client, headers: client.post(ORDERS, {}, headers=headers)),
    (
        "validation-error",
        lambda client, headers: client.post(ORDERS, {}, headers={**headers, **KEY}),
    ),
    (
        "validation-error",
        lambda client, headers: client.post(
            ORDERS, {"lines": [{"sku": [], "quantity": 0}]}, headers={**headers, **KEY}
        ),
    ),
]


def texts_for_people(problem: Any) -> list[str]:
    return [problem["title"], problem["detail"], *(e["detail"] for e in problem.get("errors", ()))]


def members_for_programs(problem: Any) -> Any:
    pointers = [error["pointer"] for error in problem.pop("errors", ())]
    return {key: problem[key] for key in problem.keys() - {"title", "detail"}}, pointers


def assert_only_words_differ(in_english: Any, in_chinese: Any) -> None:
    assert in_chinese["Content-Type"] == in_english["Content-Type"] == "application/problem+json"
    english, translated = in_english.json(), in_chinese.json()
    assert [text for text in texts_for_people(translated) if not CHINESE.search(text)] == []
    assert [text for text in texts_for_people(english) if CHINESE.search(text)] == []
    assert members_for_programs(translated) == members_for_programs(english)


@pytest.mark.parametrize(("slug", "raised"), RAISED)
def test_only_the_words_of_a_refusal_depend_on_the_language(
    slug: str,
    raised: Callable[[], Exception],
    as_alice: APIClient,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: Any) -> None:
        raise raised()

    monkeypatch.setattr("orders.services.place_order", refuse)
    in_english, in_chinese = (place_over_the_api(as_alice, **language) for language in (EN, ZH))

    assert in_english.json()["type"] == f"/problems/{slug}"
    assert_only_words_differ(in_english, in_chinese)


@pytest.mark.parametrize(("slug", "ask"), REFUSED)
def test_only_the_words_of_a_problem_depend_on_the_language(
    slug: str, ask: Ask, as_alice: APIClient
) -> None:
    in_english, in_chinese = (ask(as_alice, language) for language in (EN, ZH))

    assert in_english.json()["type"] == f"/problems/{slug}"
    assert_only_words_differ(in_english, in_chinese)


@pytest.mark.parametrize("status", BY_STATUS)
def test_a_problem_outside_of_any_view_is_in_the_language_of_the_moment(status: int) -> None:
    in_english = for_status(status).content.decode()
    with override("zh-hans"):
        in_chinese = for_status(status).content.decode()

    english, translated = json.loads(in_english), json.loads(in_chinese)
    assert [text for text in texts_for_people(translated) if not CHINESE.search(text)] == []
    assert members_for_programs(translated) == members_for_programs(english)


def test_only_the_words_about_a_payment_depend_on_the_language(
    as_bob: APIClient, bob: User, bob_account: Account, place: Callable[..., Order]
) -> None:
    poor = open_account(owner=bob, currency="EUR", opening_balance=1)
    for account in (poor, bob_account):
        for first, second in ((EN, ZH), (ZH, EN)):
            order = place(customer=bob)
            responses = [pay(as_bob, order, account, **language) for language in (first, second)]
            for response, language in zip(responses, (first, second), strict=True):
                if response.status_code != 200:
                    texts = texts_for_people(response.json())
                    assert all(bool(CHINESE.search(text)) is (language is ZH) for text in texts)
                order_shown = response.json().get("order", response.json())
                assert order_shown["status_label"] == ("failed" if account is poor else "paid")
                assert order_shown["payment"]["outcome"] == (
                    "declined" if account is poor else "succeeded"
                )


@pytest.mark.parametrize("slug", CATALOGUE)
def test_what_a_problems_type_leads_to_is_in_the_readers_language(
    slug: str, client: Client
) -> None:
    in_english = client.get(f"/problems/{slug}", headers=EN).text
    in_chinese = client.get(f"/problems/{slug}", headers=ZH).text

    name, _, meaning = in_chinese.partition("\n\n")
    assert name == slug
    assert CHINESE.search(meaning)
    assert in_english == f"{slug}\n\n{CATALOGUE[slug].meaning}\n"
    assert not CHINESE.search(in_english)


def test_the_titles_are_the_words_of_the_slugs() -> None:
    refusals = {
        refusal.slug
        for refusal in vars(errors).values()
        if isinstance(refusal, type) and issubclass(refusal, errors.Refusal)
    }

    by_name = {problem.slug for problem in BY_STATUS.values()} | refusals
    for slug in by_name - {errors.Refusal.slug}:
        assert str(CATALOGUE[slug].title) == slug.replace("-", " ").capitalize()


# --- Nothing else


def test_what_programs_read_doesnt_depend_on_the_language(
    as_alice: APIClient, alice_account: Account, product: Product
) -> None:
    for language in (EN, ZH):
        placed = place_over_the_api(as_alice, **language).json()
        order = Order.objects.get(pk=placed["id"])
        paid = pay(as_alice, order, alice_account, **language).json()
        assert (placed["status_label"], paid["status_label"]) == ("submitted", "paid")
        assert paid["payment"]["outcome"] == "succeeded"
        for url in (ORDERS, f"{ORDERS}{order.pk}/", f"/api/v1/payments/{order.pk}/"):
            responses = {as_alice.get(url, headers=headers).content for headers in (EN, ZH)}
            assert len(responses) == 1


def test_a_replay_in_another_language_is_the_first_response_byte_for_byte(
    as_bob: APIClient, bob: User, place: Callable[..., Order]
) -> None:
    poor = open_account(owner=bob, currency="EUR", opening_balance=1)
    for first, second in ((EN, ZH), (ZH, EN)):
        order, key = place(customer=bob), str(uuid4())

        declined = pay(as_bob, order, poor, key=key, **first)
        replayed = pay(as_bob, order, poor, key=key, **second)

        assert declined.status_code == replayed.status_code == 402
        assert replayed["Idempotent-Replayed"] == "true"
        assert replayed.content == declined.content
        assert bytes(Record.objects.get(key=key).body or b"") == declined.content
        assert bool(CHINESE.search(declined.content.decode())) is (first is ZH)


def test_the_schema_describes_the_same_interface_in_both_languages(client: Client) -> None:
    def names(value: Any) -> Any:
        if isinstance(value, dict):
            worded = {"title", "description", "example", "examples", "summary"}
            return {key: names(inner) for key, inner in value.items() if key not in worded}
        return [names(inner) for inner in value] if isinstance(value, list) else value

    in_english, in_chinese = (
        client.get("/api/schema/", headers={**language, "Accept": "application/json"}).json()
        for language in (EN, ZH)
    )

    assert names(in_chinese) == names(in_english)


# --- The catalogue


def texts_of_the_sources() -> Iterator[tuple[tuple[str | None, str], str]]:
    """Yield every text of the code and the templates, with its context, and its plural.

    A text without a plural is its own.
    """
    keywords = dict.fromkeys(("_", "gettext", "gettext_lazy"))
    plurals = dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2))
    contexts = dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2))
    for file in (file for app in APPS for file in (ROOT / app).rglob("*.*")):
        if file.suffix == ".py":
            language, source = "python", file.read_text()
        elif file.suffix == ".html":
            language, source = "javascript", templatize(file.read_text(), origin=str(file))
        else:
            continue
        extracted = extract(
            language, io.BytesIO(source.encode()), {**keywords, **plurals, **contexts}
        )
        for _line, text, _comments, context in extracted:
            yield (context, first(text)), text if isinstance(text, str) else text[-1]


def first(text: Any) -> str:
    """Return a text, or the first form of one that depends on a number."""
    return text if isinstance(text, str) else text[0]


def catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale="zh_Hans")


def test_every_text_of_the_project_has_its_chinese_with_the_same_places_to_fill() -> None:
    written = {
        (message.context, first(message.id)): first(message.string)
        for path in CATALOGUES
        for message in catalogue(path)
        if message.string and not message.fuzzy
    }
    places = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}")

    sources = dict(texts_of_the_sources())

    assert sorted(text for context, text in sources.keys() - written.keys()) == []
    for key, plural in sources.items():
        assert set(places.findall(written[key])) == set(places.findall(plural)), key


def test_a_text_has_the_same_chinese_in_every_catalogue() -> None:
    translations: dict[Any, Any] = {}
    for path in CATALOGUES:
        for message in catalogue(path):
            if message.id:
                key = (message.context, message.id)
                assert translations.setdefault(key, message.string) == message.string, (path, key)


# --- The reader


def test_the_reader_finds_english_in_texts_in_hints_and_on_buttons() -> None:
    html = """
        <p title="A hint">中文 and more</p> <p>alice pays EUR</p> <input type="submit" value="Send">
        <input type="hidden" value="hidden"> <button value="quiet">Continue</button>
        <code>SELECT</code> <p>01a20135-ad4e-7006-ab7c-efb1af2d2998 /api/v1/orders/</p>
    """

    assert untranslated(html) == ["A hint", "alice pays EUR", "Send", "Continue"]
    assert untranslated(html, names=["pays"]) == ["A hint", "Send", "Continue"]
    assert chinese(html) == ["中文 and more"]
