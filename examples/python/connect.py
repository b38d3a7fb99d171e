"""The channel to retryd, as the environment says: RETRYD_ADDRESS, RETRYD_TLS_CA, RETRYD_TOKEN."""
import json
import os
import sys

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "gen"))

# Calls are repeated by gRPC itself while the server is away: a report that came twice has one
# effect, and the first answer. Load is spread over all addresses of the name.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
        "name": [{"service": "retry.v1.RetryService"}],
        "retryPolicy": {
            "maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        },
    }],
}


def connect():
    address = os.environ.get("RETRYD_ADDRESS", "127.0.0.1:7600")
    options = [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        # A server that vanished is noticed by pings; more often than every 15 s it refuses them.
        ("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000),
    ]
    if "RETRYD_TLS_CA" not in os.environ:
        return grpc.insecure_channel(address, options)
    with open(os.environ["RETRYD_TLS_CA"], "rb") as ca:
        credentials = grpc.ssl_channel_credentials(ca.read())
    if "RETRYD_TOKEN" in os.environ:
        token = grpc.access_token_call_credentials(os.environ["RETRYD_TOKEN"])
        credentials = grpc.composite_channel_credentials(credentials, token)
    return grpc.secure_channel(address, credentials, options)
