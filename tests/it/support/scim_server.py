"""Serves scim2-server's application with gunicorn: `scim_server.py PORT TOKEN`.

Its own command resets connections when a few dozen clients come at once; a real WSGI server does not.
One process, since the resources live in its memory; threads, since the relay calls in parallel.
"""

import sys

from gunicorn.app.base import BaseApplication
from scim2_models import ScimProvider
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.testserver.application import BEARER_TOKEN_SCHEME, BearerTokenApplication
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)

PORT, TOKEN = sys.argv[1:3]


def application():
    config = load_default_service_provider_config()
    config.authentication_schemes = [*(config.authentication_schemes or []), BEARER_TOKEN_SCHEME]
    provider = ScimProvider.from_discovery(
        load_default_schemas().values(), load_default_resource_types().values(), config=config
    )
    service = ScimService(provider, secret="tests only")
    return BearerTokenApplication(InMemoryStorage(), provider, service=service, bearer_tokens=[TOKEN])


class Server(BaseApplication):
    def load_config(self):
        self.cfg.set("bind", f"127.0.0.1:{PORT}")
        self.cfg.set("workers", 1)
        self.cfg.set("worker_class", "gthread")
        self.cfg.set("threads", 8)
        self.cfg.set("keepalive", 30)
        self.cfg.set("loglevel", "warning")
        # A prompt end: the test kills the process, and nothing is worth keeping.
        self.cfg.set("graceful_timeout", 1)

    def load(self):
        return application()


if __name__ == "__main__":
    Server().run()
