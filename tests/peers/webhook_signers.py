"""Webhooks that are signed by other people's libraries, one JSON object a line, for the relay to verify.

Each line says for which kind of source it is, with which secret, and what would be sent. The last line
holds the keys of the tokens before it. Every signature was verified by its own library first.
"""

import json
import time
from datetime import datetime, timezone

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from standardwebhooks import Webhook as StandardWebhook
from svix.webhooks import Webhook as SvixWebhook
from workos import WorkOSClient
from workos.actions import _compute_signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ISSUER = "https://idp.example"
AUDIENCE = "https://relay.example/webhooks/idp"


def emit(kind, headers, body, secret=SECRET):
    print(json.dumps({"kind": kind, "secret": secret, "headers": headers, "body": body}))


def standard_webhooks(now):
    body = json.dumps({"changes": [{"op": "user.delete", "id": "u-ü"}]}, ensure_ascii=False)
    webhook = StandardWebhook(SECRET)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign("msg_1", now, body),
    }
    webhook.verify(body, headers)
    emit("native", headers, body)


def svix(now):
    body = json.dumps({"type": "user.deleted", "data": {"id": "user_1"}, "timestamp": 1786000000000})
    webhook = SvixWebhook(SECRET)
    headers = {
        "svix-id": "msg_2",
        "svix-timestamp": str(int(now.timestamp())),
        "svix-signature": webhook.sign("msg_2", now, body),
    }
    webhook.verify(body, headers)
    emit("clerk", headers, body)


def workos(now):
    secret = "a secret of WorkOS"
    body = json.dumps({"id": "event_1", "event": "dsync.user.deleted", "data": {"id": "directory_user_1"}})
    at = str(int(now.timestamp() * 1000))
    header = f"t={at}, v1={_compute_signature(f'{at}.{body}', secret)}"
    client = WorkOSClient(api_key="sk_test", client_id="client_test")
    client.webhooks.verify_header(event_body=body.encode(), event_signature=header, secret=secret)
    emit("workos", {"workos-signature": header}, body, secret)


def tokens():
    signers = [
        ("RS256", RSAAlgorithm, rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("PS256", RSAAlgorithm, rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("ES256", ECAlgorithm, ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", OKPAlgorithm, ed25519.Ed25519PrivateKey.generate()),
    ]
    keys = []
    for algorithm, form, key in signers:
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(time.time()),
            "jti": f"jti-{algorithm}",
            "sub_id": {"format": "scim", "uri": "/Users/u-1"},
            "events": {"urn:ietf:params:scim:event:prov:delete": {}},
        }
        headers = {"typ": "secevent+jwt", "kid": algorithm}
        emit("scim-events", {}, jwt.encode(claims, key, algorithm=algorithm, headers=headers))
        keys.append({**form.to_jwk(key.public_key(), as_dict=True), "kid": algorithm, "use": "sig"})
    print(json.dumps({"keys": keys}))


if __name__ == "__main__":
    moment = datetime.now(timezone.utc)
    standard_webhooks(moment)
    svix(moment)
    workos(moment)
    tokens()
