"""docs/events.md is run as it is written: what its programs publish arrives in the broker, whole."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from tests.support import ROOT, Deployment

from switchyard.events.config import load
from switchyard.events.event import Event, parse

PAGE = (ROOT / "docs" / "events.md").read_text()

#: What is a fork's own and stands in no documentation: its models, its apps, a request.
MODELS = """
from django.db import models
class Product(models.Model):
    name = models.TextField()
    version = models.IntegerField(default=0)
    class Meta:
        app_label = "shop"
"""
OUR_APP = """
from celery import Celery
app = Celery("shop")
app.config_from_object("switchyard.celeryconfig")
"""
STOCK_APP = """
import os
from celery import Celery
app = Celery("shop", broker=os.environ["BROKER_URL"])
"""
REQUEST = """
import django
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, INSTALLED_APPS=["shop"], SECRET_KEY="-"
)
django.setup()
from django.db import connection, transaction
from django.test import RequestFactory
from shop.models import Product
from shop.views import rename
with connection.schema_editor() as editor:
    editor.create_model(Product)
product = Product.objects.create(name="Kaese")
request = RequestFactory().post("/", {"name": "Käse"})
try:
    with transaction.atomic():
        rename(request, product.id)
        raise LookupError("rolled back")
except LookupError:
    pass
print(rename(request, product.id).status_code, Product.objects.get().version)
"""


def block(first_line: str) -> str:
    """The fenced block of the page that begins so."""
    found = [
        text
        for text in re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if text.startswith(first_line)
    ]
    assert len(found) == 1, f"docs/events.md has {len(found)} blocks that begin with {first_line!r}"
    return found[0]


def told(deployment: Deployment) -> list[dict[str, Any]]:
    """The messages in the broker's list `events`, as kombu has wrapped them, oldest first."""
    return [json.loads(message) for message in deployment.server.client(0).lrange("events", 0, -1)][::-1]


def event_of(message: dict[str, Any]) -> dict[str, Any]:
    """The event of a message, which our own reader takes, too."""
    body = base64.b64decode(message["body"])
    assert isinstance(parse(body), Event)
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.fixture
def shop(deployment: Deployment) -> Deployment:
    """Somebody's Django project, whose Celery app is still to be written."""
    deployment.queues("")
    package = deployment.folder / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text(MODELS)
    deployment.environment["PYTHONPATH"] += f":{deployment.folder}"
    return deployment


def test_the_script_with_kombu_alone_puts_its_event_into_the_queue(deployment):
    """On a Redis that has never seen the exchange, and again after a FLUSHALL; the body is the event, letter by letter."""
    script = block("# tell.py")
    assert "switchyard" not in re.sub(r"#.*", "", script)
    for _ in range(2):
        deployment.python(script, BROKER_URL=deployment.server.environment["CELERY_BROKER_URL"], PYTHONPATH="")
        [message] = told(deployment)
        assert message["content-type"] == "application/cloudevents+json"
        assert event_of(message) == {
            "specversion": "1.0",
            "id": "4711/2026-01-31",
            "source": "/warehouse",
            "type": "product.updated",
            "data": {"product_id": 1, "name": "Käse"},
        }
        deployment.server.client(0).flushall()


@pytest.mark.parametrize("celery_app", [OUR_APP, STOCK_APP], ids=["ours", "stock"])
def test_the_django_view_publishes_when_its_transaction_is_committed(shop, celery_app):
    """Once for the request that is committed, never for the one that is rolled back; with our `publish` and with Celery's own."""
    package = shop.folder / "shop"
    (package / "celery.py").write_text(celery_app)
    view = block("# shop/views.py")
    if celery_app is STOCK_APP:
        (package / "events.py").write_text(block("# shop/events.py"))
        view = view.replace("from switchyard.events import publish", "from shop.events import publish")
    (package / "views.py").write_text(view)

    said = shop.python(REQUEST, BROKER_URL=shop.server.environment["CELERY_BROKER_URL"])

    assert said == "204 1"
    [message] = told(shop)
    assert message["content-type"] == "application/cloudevents+json"
    assert event_of(message) == {
        "specversion": "1.0",
        "id": "1/1",
        "source": "/shop/products",
        "type": "product.updated",
        "data": {"product_id": 1},
    }


def test_the_first_event_of_the_page_is_one():
    """What the page begins with is taken by our own reader."""
    assert isinstance(parse(block('{\n  "specversion"').encode()), Event)


def test_the_tables_of_the_page_are_taken(tmp_path):
    """events.toml as the page shows it, events and schedules."""
    tables = block('[events."catalog.refresh.requested"]') + block("[schedules.nightly_refresh]")
    (tmp_path / "events.toml").write_text(tables)
    config = load(tmp_path, ())
    assert [len(rules) for rules in config.rules.values()] == [1, 2]
    assert [schedule.name for schedule in config.schedules] == ["nightly_refresh"]
