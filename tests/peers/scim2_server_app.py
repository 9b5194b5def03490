"""scim2-server as a WSGI application, for tests against a SCIM server that is not ours.

Its own command resets connections when some twenty clients come at once, so gunicorn serves it:

    gunicorn --chdir tests/peers --workers 1 --threads 32 --keep-alive 30 --no-control-socket \
        --bind 127.0.0.1:0 scim2_server_app:application

One worker, since the resources live in its memory. The bound address stands in gunicorn's log
("Listening at: http://..."), the base URL is that address and /v2. SCIM_PEER_TOKEN is the bearer
token that it wants; without one it accepts everyone. SCIM_PEER_USERS says how many users, from u-0 on, it
has from the start.
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


def make_users(storage, provider, count):
    resource_type = next(known for known in provider.resource_types if known.name == "User")
    model = provider.model_for(resource_type)
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    for number in range(count):
        mail = f"u{number}@example.com"
        user = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", enterprise],
            "externalId": f"u-{number}",
            "userName": mail,
            "active": True,
            "title": "Clerk",
            "emails": [{"value": mail, "type": "work", "primary": True}],
            enterprise: {"department": "SUPPORT"},
        }
        storage.create(resource_type, model.model_validate(user))


def build_application():
    token = os.environ.get("SCIM_PEER_TOKEN")
    config = load_default_service_provider_config()
    if token:
        config.authentication_schemes = [*(config.authentication_schemes or []), BEARER_TOKEN_SCHEME]
    provider = ScimProvider.from_discovery(
        load_default_schemas().values(), load_default_resource_types().values(), config=config
    )
    service = ScimService(provider, secret=secrets.token_urlsafe(32))
    storage = InMemoryStorage()
    make_users(storage, provider, int(os.environ.get("SCIM_PEER_USERS", "0")))
    return BearerTokenApplication(
        storage, provider, service=service, bearer_tokens=[token] if token else []
    )


application = build_application()
