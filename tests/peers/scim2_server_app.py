"""scim2-server as a WSGI application, for tests against a SCIM server that is not ours.

Its own command resets connections when some twenty clients come at once, so gunicorn serves it:

    gunicorn --chdir tests/peers --workers 1 --threads 32 --keep-alive 30 --no-control-socket \
        --bind 127.0.0.1:0 scim2_server_app:application

One worker, since the resources live in its memory. The bound address stands in gunicorn's log
("Listening at: http://..."), the base URL is that address and /v2. SCIM_PEER_TOKEN is the bearer
token that it wants; without one it accepts everyone.
"""

import os
import secrets

from scim2_models import ScimProvider
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.testserver.application import BEARER_TOKEN_SCHEME, BearerTokenApplication
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)


def build_application():
    token = os.environ.get("SCIM_PEER_TOKEN")
    config = load_default_service_provider_config()
    if token:
        config.authentication_schemes = [*(config.authentication_schemes or []), BEARER_TOKEN_SCHEME]
    provider = ScimProvider.from_discovery(
        load_default_schemas().values(), load_default_resource_types().values(), config=config
    )
    service = ScimService(provider, secret=secrets.token_urlsafe(32))
    return BearerTokenApplication(
        InMemoryStorage(), provider, service=service, bearer_tokens=[token] if token else []
    )


application = build_application()
