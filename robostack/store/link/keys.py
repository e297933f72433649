"""Certificates and tokens: who may listen where, and who may call."""

import hmac
import ipaddress
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from robostack.core import clock
from robostack.core.errors import BadValue, RobostackError, Unavailable
from robostack.store.disk import explained

PORT = 7447
MAKE = "make keys with `robostack link keygen DIR --host NAME`"


@dataclass(frozen=True)
class Address:
    """Where to listen or call."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @staticmethod
    def parse(text: str) -> "Address":
        """Of "host", "host:7447", "[::1]:7447". Raises BadValue."""
        host, colon, port = text.strip().rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text.strip(), str(PORT)
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise BadValue(f'"{text}" is no address; expected host:port, as 192.168.1.5:{PORT}')
        return Address(host, int(port))

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True)
class Keys:
    """One side's keys; empty where there are none. A learner has certificate and key, a cell the CA's certificate."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    ca: bytes = b""

    def admits(self, token: str) -> bool:
        """In constant time, so that guessing gets no hints."""
        return not self.token or hmac.compare_digest(self.token.encode(), token.encode())


def load(folder: Path | None, side: str) -> Keys:
    """The keys of "learner" or "cell" in `folder`, as keygen made it, or in its subfolder. Raises RobostackError."""
    if folder is None:
        return Keys()
    if (folder / side).is_dir():
        folder = folder / side
    token = _read(folder / "token").decode(errors="replace").strip()
    if len(token) < 16 or not token.isascii():
        raise RobostackError(f"{folder / 'token'} holds no token; {MAKE}")
    if side == "cell":
        return Keys(token, ca=_read(folder / "ca.pem") if (folder / "ca.pem").exists() else b"")
    if not (folder / "server.pem").exists():
        return Keys(token)
    keys = Keys(token, _read(folder / "server.pem"), _read(folder / "server.key"))
    _require_valid(folder / "server.pem", keys.certificate)
    return keys


def require_may_listen(at: Address, keys: Keys) -> None:
    """Raises BadValue where others could reach us and no TLS and token protect us."""
    if not at.is_loopback and not (keys.certificate and keys.token):
        raise BadValue(
            f"listening at {at} needs TLS and a token: {MAKE}, then give --keys DIR; "
            "or listen at 127.0.0.1"
        )


def require_may_call(learner: Address, keys: Keys) -> None:
    """Raises BadValue where the network could read along."""
    if not learner.is_loopback and not (keys.ca and keys.token):
        raise BadValue(
            f"calling {learner} needs TLS and a token: copy the folder cell/ of the learner's keys here "
            "and give --keys DIR"
        )


def make(folder: Path, hosts: Sequence[str], days: int = 365) -> None:
    """Writes learner/ and cell/. The CA's own key is never written: new hosts need new keys. Raises RobostackError.

    hosts: names and addresses under which cells call the learner.
    """
    if not hosts:
        raise BadValue("no host; name how cells call the learner: --host learner.local 192.168.1.5")
    if not 1 <= days <= 36500:
        raise BadValue(f"days is {days}, expected 1 to 36500")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _certificate("robostack link CA", ca_key, ca_key, "robostack link CA", days, is_ca=True)
    server = _certificate(hosts[0], key, ca_key, "robostack link CA", days, hosts=hosts)
    token = (secrets.token_hex(32) + "\n").encode()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files = {
        "learner/server.pem": server,
        "learner/server.key": secret,
        "learner/token": token,
        "cell/ca.pem": ca,
        "cell/token": token,
    }
    for name in files:
        if (folder / name).exists():
            raise Unavailable(
                f"{folder / name} exists, and keys are not overwritten; choose another folder"
            )
    for name, data in files.items():
        path = folder / name
        with explained("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o644 if path.suffix == ".pem" else 0o600
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(handle, "wb") as file:
                file.write(data)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: str,
    days: int,
    is_ca: bool = False,
    hosts: Sequence[str] = (),
) -> bytes:
    """PEM. Valid since yesterday: clocks of two machines differ."""
    now = datetime.fromisoformat(clock.wall_time())
    build = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_ca, 0 if is_ca else None), critical=True)
        .add_extension(_usage(is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        build = build.add_extension(names, critical=False)
    return build.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _usage(is_ca: bool) -> x509.KeyUsage:
    """A CA signs certificates, a server signs handshakes; Python 3.13 asks for it to be said."""
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError:
        raise BadValue(f'"{text}" is no host name or address') from None


def _require_valid(path: Path, data: bytes) -> None:
    try:
        until = x509.load_pem_x509_certificate(data).not_valid_after_utc
    except ValueError:
        raise RobostackError(f"{path} is no certificate; {MAKE}") from None
    if until < datetime.fromisoformat(clock.wall_time()).astimezone(UTC):
        raise RobostackError(f"{path} expired on {until:%Y-%m-%d}; {MAKE} and copy cell/ again")


def _read(path: Path) -> bytes:
    try:
        with explained("read", path):
            return path.read_bytes()
    except Unavailable as error:
        raise RobostackError(f"{error}; {MAKE}") from None
