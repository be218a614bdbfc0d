"""Who is this person, and which of their devices speaks?

A person is an Ed25519 key, a device an Ed25519 key and a Curve25519 key for the sockets; the
person's certificate binds them. Private keys are made from bytes that the caller drew.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Meta, Struct

from sharefs.errors import RemoteProtocolError
from sharefs.records.canonical import decode, encode
from sharefs.records.ids import (
    Count,
    DeviceId,
    PersonId,
    PublicKey,
    Signature,
    device_id,
    person_id,
)
from sharefs.spaces.limits import PERSON_NAME_SIZE_MAX

CERTIFICATE_SIZE_BYTES_MAX = 1024
_DOMAIN = b"sharefs certificate 1\x00"

PersonName = Annotated[str, Meta(min_length=1, max_length=PERSON_NAME_SIZE_MAX)]


class Certificate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A person's word that a device is theirs."""

    version: Literal[1]
    person_key: PublicKey
    person_name: PersonName
    device_key: PublicKey
    device_name: PersonName
    curve_key: PublicKey
    issued: Count
    """Milliseconds."""
    signature: Signature

    @property
    def person(self) -> PersonId:
        return person_id(self.person_key)

    @property
    def device(self) -> DeviceId:
        return device_id(self.device_key)


def _signed_bytes(certificate: Certificate) -> bytes:
    return _DOMAIN + encode(
        (
            certificate.version,
            certificate.person_key,
            certificate.person_name,
            certificate.device_key,
            certificate.device_name,
            certificate.curve_key,
            certificate.issued,
        )
    )


def verify_certificate(certificate: Certificate) -> None:
    """Raises RemoteProtocolError if the person did not sign it."""
    verify(certificate.person_key, certificate.signature, _signed_bytes(certificate))


def verify(key: PublicKey, signature: Signature, data: bytes) -> None:
    """Raises RemoteProtocolError if `key` did not sign `data`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except InvalidSignature as error:
        raise RemoteProtocolError("a signature does not match") from error


def signing_key(secret: bytes) -> Ed25519PrivateKey:
    """An Ed25519 key from 32 secret bytes."""
    return Ed25519PrivateKey.from_private_bytes(secret)


def public_key(key: Ed25519PrivateKey) -> PublicKey:
    """What others know of a signing key."""
    return PublicKey(key.public_key().public_bytes_raw())


def curve_public_key(secret: bytes) -> PublicKey:
    """The Curve25519 public key of 32 secret bytes."""
    return PublicKey(X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw())


class Secrets(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the identity file holds: 32 bytes each, and the certificate."""

    version: Literal[1]
    person_secret: PublicKey
    device_secret: PublicKey
    curve_secret: PublicKey
    certificate: Certificate


@dataclass(frozen=True)
class Identity:
    """This person on this device."""

    secrets: Secrets
    device_key: Ed25519PrivateKey

    @property
    def certificate(self) -> Certificate:
        return self.secrets.certificate

    @property
    def device(self) -> DeviceId:
        return self.certificate.device

    @property
    def person(self) -> PersonId:
        return self.certificate.person


def new_identity(random_bytes: bytes, person_name: str, device_name: str, now_ms: int) -> Identity:
    """Make a person and their first device from 96 random bytes."""
    assert len(random_bytes) == 96, "an identity takes 96 random bytes"
    person_secret, device_secret, curve_secret = (random_bytes[i : i + 32] for i in (0, 32, 64))
    person = signing_key(person_secret)
    device = signing_key(device_secret)
    blank = Certificate(
        1,
        public_key(person),
        person_name,
        public_key(device),
        device_name,
        curve_public_key(curve_secret),
        now_ms,
        Signature(bytes(64)),
    )
    certificate = Certificate(
        1,
        blank.person_key,
        person_name,
        blank.device_key,
        device_name,
        blank.curve_key,
        now_ms,
        Signature(person.sign(_signed_bytes(blank))),
    )
    secrets = Secrets(
        1,
        PublicKey(person_secret),
        PublicKey(device_secret),
        PublicKey(curve_secret),
        certificate,
    )
    return Identity(secrets, device)


def encode_identity(identity: Identity) -> bytes:
    """The identity file's bytes: secret."""
    return encode(identity.secrets)


def decode_identity(data: bytes) -> Identity:
    """Raises RemoteProtocolError if the file's bytes are not an identity."""
    secrets = decode(data, Secrets, 2 * CERTIFICATE_SIZE_BYTES_MAX)
    return Identity(secrets, signing_key(secrets.device_secret))
