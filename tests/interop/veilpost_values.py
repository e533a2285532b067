"""The format of docs/encryption-format.md, written from that page with Python's `cryptography` alone."""

import base64
import hashlib
import json
import os
import re

from cryptography.hazmat.primitives import hashes, hmac, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import mlkem, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KINDS = {"text": 1, "number": 2, "boolean": 3, "json": 4}
SUITES = {1: "x-wing", 2: "x25519", 3: "rsa-oaep-256"}
KEMS = {"x-wing": hpke.KEM.MLKEM768_X25519, "x25519": hpke.KEM.X25519}
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label=None)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    assert re.fullmatch(r"[A-Za-z0-9_-]*", text)
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def field(data):
    return len(data).to_bytes(4, "big") + data


def fields(*parts):
    return b"".join(field(part) for part in parts)


def extract(salt, secret):
    mac = hmac.HMAC(salt, hashes.SHA256())
    mac.update(secret)
    return mac.finalize()


def expand(key, length, *info):
    return HKDFExpand(hashes.SHA256(), length, fields(*info)).derive(key)


class DataKey:
    def __init__(self, secret):
        assert len(secret) == 32
        self.secret = secret
        self.prk = extract(b"veilpost data key 1", secret)
        self.id = expand(self.prk, 16, b"key id")
        self.commitment = expand(self.prk, 32, b"commitment")

    def cipher(self, context, subject):
        prk = self.prk
        if subject is not None:
            prk = extract(b"veilpost data key and subject 1", self.secret + subject)
        return AESGCMSIV(expand(prk, 32, b"value key", context.encode()))

    def associated(self, form, context, bound):
        common = fields(form.encode(), context.encode(), self.commitment)
        return common + (b"\0" if bound is None else b"\x01" + field(bound.encode()))

    def seal(self, nonce, context, bound, subject, pad, kind, value):
        form = "ve1" if subject is None else "ve1e"
        plaintext = bytes([KINDS[kind] | (0x80 if pad else 0)]) + value.encode()
        if pad:
            plaintext += b"\x80"
            plaintext += bytes(-len(plaintext) % pad)
        sealed = self.cipher(context, subject).encrypt(nonce, plaintext, self.associated(form, context, bound))
        return f"{form}.{b64(self.id)}.{b64(nonce + sealed)}"

    def open(self, text, context, bound, subject):
        form, key_id, payload = text.split(".")
        assert form in ("ve1", "ve1e") and unb64(key_id) == self.id
        payload = unb64(payload)
        cipher = self.cipher(context, subject if form == "ve1e" else None)
        plaintext = cipher.decrypt(payload[:12], payload[12:], self.associated(form, context, bound))
        kind, value = plaintext[0], plaintext[1:]
        if kind & 0x80:
            value = value.rstrip(b"\0")
            assert value.endswith(b"\x80")
            value = value[:-1]
        return next(name for name, byte in KINDS.items() if byte == kind & 0x7F), value.decode()


class PrivateKey:
    def __init__(self, line):
        word, self.suite, self.recipient, key = line.split(" ")
        assert word == "veilpost-private-key-1"
        key = unb64(key)
        if self.suite == "x-wing":
            # X-Wing's own expansion of its seed: 64 bytes for ML-KEM-768, 32 for X25519.
            expanded = hashlib.shake_256(key).digest(96)
            pq = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
            self.x25519 = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
            self.ml_kem, self.key = pq, hpke.MLKEM768X25519PrivateKey(pq, self.x25519)
        elif self.suite == "x25519":
            self.key = x25519.X25519PrivateKey.from_private_bytes(key)
        else:
            self.key = serialization.load_der_private_key(key, None)
            assert isinstance(self.key, rsa.RSAPrivateKey)

    def public_bytes(self):
        public = self.key.public_key()
        if self.suite == "x-wing":
            return self.ml_kem.public_key().public_bytes_raw() + self.x25519.public_key().public_bytes_raw()
        if self.suite == "x25519":
            return public.public_bytes_raw()
        return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def public_line(self):
        return f"veilpost-public-key-1 {self.suite} {self.recipient} {b64(self.public_bytes())}"

    def fingerprint(self):
        digest = hashlib.sha256(fields(b"veilpost public key 1", self.suite.encode(), self.public_bytes()))
        digits = digest.hexdigest()[:32]
        return " ".join(digits[at : at + 4] for at in range(0, 32, 4))

    def hpke(self):
        return hpke.Suite(KEMS[self.suite], hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)

    def wrap(self, data_key):
        info = wrap_info(self.suite, self.recipient, data_key.id, data_key.commitment)
        if self.suite == "rsa-oaep-256":
            plaintext = data_key.secret + hashlib.sha256(info).digest()
            ciphertext = self.key.public_key().encrypt(plaintext, OAEP)
        else:
            ciphertext = self.hpke().encrypt(data_key.secret, self.key.public_key(), info=info)
        number = next(number for number, name in SUITES.items() if name == self.suite)
        head = bytes([1, number, len(self.recipient)]) + self.recipient.encode()
        return head + data_key.id + data_key.commitment + ciphertext

    def unwrap(self, wrap):
        version, number, length = wrap[:3]
        recipient, rest = wrap[3 : 3 + length].decode(), wrap[3 + length :]
        assert (version, SUITES[number], recipient) == (1, self.suite, self.recipient)
        key_id, commitment, ciphertext = rest[:16], rest[16:48], rest[48:]
        info = wrap_info(self.suite, recipient, key_id, commitment)
        if self.suite == "rsa-oaep-256":
            secret = self.key.decrypt(ciphertext, OAEP)
            assert secret[32:] == hashlib.sha256(info).digest()
            secret = secret[:32]
        else:
            secret = self.hpke().decrypt(ciphertext, self.key, info=info)
        data_key = DataKey(secret)
        assert (data_key.id, data_key.commitment) == (key_id, commitment)
        return data_key


def wrap_info(suite, recipient, key_id, commitment):
    return fields(b"veilpost wrap 1", suite.encode(), recipient.encode(), key_id, commitment)


def unhex(text):
    return None if text is None else bytes.fromhex(text)


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def save(path, content):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=True)
        file.write("\n")
