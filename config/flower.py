"""Flower's configuration: credentials from a file, and no page without them.

Flower runs this file at start. /metrics and /healthcheck carry no authentication of their own, so every handler gets it here.
"""

import os
from pathlib import Path

from flower import urls
from flower.views import BaseHandler
from tornado.web import HTTPError, StaticFileHandler

secrets = Path(os.environ["SECRETS_DIR"])
# Set here and not by the parent: an environment variable of a running process can be read from outside, this cannot.
os.environ["CELERY_BROKER_URL"] = (secrets / "broker_url").read_text().strip()

# The defaults keep 100,000 tasks in memory and every worker that ever was.
max_tasks = 10_000
max_workers = 200
purge_offline_workers = 300
# Else it has every worker send events, every few seconds anew, whatever `events` says of its queue in queues.toml.
enable_events = False
basic_auth = [(secrets / "flower_basic_auth").read_text().strip()]


def ask(handler):
    """Answer 401 in a way that makes a browser ask for the credentials."""
    try:
        authenticated = handler.get_current_user()
    except HTTPError:
        authenticated = False
    if not authenticated:
        handler.set_status(401)
        handler.set_header("WWW-Authenticate", 'Basic realm="Flower"')
        handler.finish("Flower wants the user and the password that `make up` told you where to find.\n")


class AuthenticatedFiles(StaticFileHandler):
    """Flower's own files; they too are nobody's business."""

    get_current_user = BaseHandler.get_current_user
    prepare = ask


BaseHandler.prepare = ask
urls.settings["static_handler_class"] = AuthenticatedFiles
