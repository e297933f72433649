"""gRPC as both ends use it: methods, options, credentials, and errors as one line that names the remedy."""

import asyncio
import os
import socket
import ssl
from collections.abc import Coroutine
from typing import Any

# gRPC logs each refused handshake in words of its own; ours come with the remedy. It reads this once, at import.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

from robostack.core.errors import RobostackError
from robostack.store.link.keys import MAKE, Address, Keys
from robostack.store.link.message import LARGEST_MESSAGE

SERVICE = "robostack.Link"
SHIP, FETCH = f"/{SERVICE}/Ship", f"/{SERVICE}/Fetch"
TOKEN = "robostack-token"

BEAT_S = 2.0  # s between two signs of life of a side that has nothing else to say
SILENCE_S = 8.0  # s without any message after which the other side is taken for gone
DEADLINE_S = 15.0  # s for a single call, and for the first answer

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    # HTTP/2 pings see what our own beats cannot: a peer that takes nothing, so that a write never ends. The timeout is
    # longer than our silence limit, since a ping waits behind data on a slow path (grpc/grpc#22963).
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 2_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),  # else two servers share a port, and each gets half of the callers
    ("grpc.enable_retries", 0),  # the courier knows better what to send again
    ("grpc.use_local_subchannel_pool", 1),  # each channel a connection of its own
    ("grpc.enable_http_proxy", 0),
]


EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined] - in no stub


# Trying again does not help.
FINAL = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.INVALID_ARGUMENT,
}


class Lost(Exception):
    """The other side is away; trying again helps."""


class Closed(RobostackError):
    """The other side refuses us, and trying again does not help until somebody does what the line says."""


def channel(learner: Address, keys: Keys) -> grpc.aio.Channel:
    target = f"ipv6:[{learner.host}]:{learner.port}" if ":" in learner.host else str(learner)
    if keys.ca:
        credentials = grpc.ssl_channel_credentials(keys.ca)
        return grpc.aio.secure_channel(target, credentials, options=OPTIONS)
    return grpc.aio.insecure_channel(target, options=OPTIONS)


def metadata(keys: Keys) -> list[tuple[str, str]]:
    return [(TOKEN, keys.token)] if keys.token else []


async def explain(
    learner: Address, keys: Keys | None, code: grpc.StatusCode, details: str
) -> Exception:
    """What a call's end means: Lost, or Closed where trying again is no use. With keys, TLS is looked at too."""
    where = f"learner at {learner}"
    if code in FINAL:
        return Closed(f"{where}: {details}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Closed(f"{where} is a gRPC server, but no `robostack link serve`")
    if code is grpc.StatusCode.UNAVAILABLE and keys is not None:
        problem = await asyncio.to_thread(_tls_problem, learner, keys)
        if problem:
            return Closed(f"{where}: {problem}")
    return Lost(_short(details) or code.name.lower())


def _short(details: str) -> str:
    """gRPC tells a chain of causes; people need the last."""
    last = details.rpartition("last error: ")[2].rpartition("; RPC")[0] or details
    said = details.lower()
    for known in ("connection refused", "connection reset", "no route to host", "timed out"):
        if known in said:
            return known
    if "socket closed" in said or "internal error from core" in said:
        return "connection closed"
    return " ".join(last.split())[:200]


def _tls_problem(learner: Address, keys: Keys) -> str:
    """Why no TLS connection comes about, with the remedy; "" where TLS is not to blame."""
    context = ssl.create_default_context(cadata=keys.ca.decode(errors="replace") or None)
    context.set_alpn_protocols(["h2"])
    if not keys.ca:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((learner.host, learner.port), timeout=1.0) as plain,
            context.wrap_socket(plain, server_hostname=learner.host),
        ):
            return "" if keys.ca else "it asks for TLS; give --keys DIR with its cell/ folder"
    except ssl.SSLCertVerificationError as error:
        return _remedy(error.verify_message.lower(), learner.host)
    except ssl.SSLError as error:
        # A server that is being started or stopped cuts the handshake; one without TLS answers nonsense.
        is_plain = error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
        return "it speaks no TLS; start it with --keys" if keys.ca and is_plain else ""
    except OSError:
        return ""


def _remedy(said: str, host: str) -> str:
    if "expired" in said or "not yet valid" in said:
        return f"its certificate is not valid now ({said}); set both clocks, or {MAKE}"
    if "mismatch" in said or "not valid for" in said:
        return f'its certificate is not for "{host}"; make new keys with `robostack link keygen DIR --host {host}`'
    return f"its certificate is not from our CA ({said}); copy the folder cell/ of the keys it uses here"


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Runs until the first of them ends, well or badly; then none is left running."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
