#!/usr/bin/env python3
"""Opens what Veilpost's crate has made, and makes what the crate must open:

interop.py open FILE          opens each wrap and value of FILE, and checks that changed ones do not open
interop.py make FROM TO       makes such a file with the private keys of FROM

Each prints a line for what fails, and ends with `N passed, N failed`.
"""

import hashlib
import sys

from veilpost_values import DataKey, PrivateKey, b64, load, save, unb64, unhex

PASSED = FAILED = 0


def check(name, holds):
    """Counts one check, which is a function: what raises has failed."""
    global PASSED, FAILED
    try:
        result = holds()
    except Exception as error:  # noqa: BLE001: a decoder may raise anything
        result = None
        name += f" ({type(error).__name__})"
    if result is True:
        PASSED += 1
    else:
        FAILED += 1
        print(f"FAILED  {name}")


def refused(action):
    try:
        action()
    except Exception:  # noqa: BLE001
        return True
    return False


def open_all(path):
    made = load(path)
    private = {}
    for entry in made["recipients"]:
        key = PrivateKey(entry["private_key"])
        private[entry["suite"]] = key
        check(f"public key {key.suite}", lambda: key.public_line() == entry["public_key"])
        check(f"fingerprint {key.suite}", lambda: key.fingerprint() == entry["fingerprint"])
    for entry in made["data_keys"]:
        open_data_key(entry, private)


def open_data_key(entry, private):
    data_key = DataKey(unhex(entry["secret"]))
    check("key id", lambda: b64(data_key.id) == entry["key_id"])
    check("commitment", lambda: data_key.commitment.hex() == entry["commitment"])
    for suite, wrap in entry["wraps"].items():
        wrap = unb64(wrap)
        check(f"wrap {suite}", lambda: private[suite].unwrap(wrap).secret == data_key.secret)
        # The id of the data key begins behind the head and the recipient.
        for at in (3 + wrap[2], 20 + wrap[2], len(wrap) - 1):
            changed = wrap[:at] + bytes([wrap[at] ^ 1]) + wrap[at + 1 :]
            check(f"changed wrap {suite} {at}", lambda: refused(lambda: private[suite].unwrap(changed)))
    for value in entry["values"]:
        open_value(value, data_key)


def open_value(value, data_key):
    text, context, bound, subject = value["sealed"], value["context"], value["bound"], unhex(value["subject"])
    name, shown = f"{value['kind']} in {context}", (value["kind"], value["value"])
    check(f"opens: {name}", lambda: data_key.open(text, context, bound, subject) == shown)
    nonce = unhex(value["nonce"])
    again = lambda: data_key.seal(nonce, context, bound, subject, value["pad"], *shown)  # noqa: E731
    check(f"seals to the same: {name}", lambda: again() == text)
    other_bound = "" if bound is None else None if bound == "" else bound + "x"
    moved = {
        "context": lambda: data_key.open(text, context + "x", bound, subject),
        "row": lambda: data_key.open(text, context, other_bound, subject),
        "form": lambda: data_key.open(swap_form(text), context, bound, subject or bytes(32)),
    }
    if subject is not None:
        moved["person"] = lambda: data_key.open(text, context, bound, bytes(32))
    for what, action in moved.items():
        check(f"another {what}: {name}", lambda: refused(action))


def swap_form(text):
    form, rest = text.split(".", 1)
    return {"ve1": "ve1e", "ve1e": "ve1"}[form] + "." + rest


CASES = [
    # kind, value, bound, pad, subject
    ("text", "203.0.113.7", "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", 32, None),
    ("text", "", None, 0, None),
    ("text", "", "", 16, None),
    ("text", "\x00\u0080\x00", None, 1, None),
    ("text", "Zoë Österreich 漢字 🙂", "row", 0, None),
    ("text", "x" * 4096, "row", 4096, None),
    ("number", "-12345678901234567890.0500E+3", None, 32, None),
    ("boolean", "false", "row", 8, None),
    ("json", '{"b": [1, 2.0, null], "a": "é"}', None, 64, None),
    ("text", "erasable@example.org", "row", 32, hashlib.sha256(b"a person").digest()),
]


def make(source, target):
    keys = [PrivateKey(entry["private_key"]) for entry in load(source)["recipients"]]
    recipients = [
        {
            "suite": key.suite,
            "private_key": entry["private_key"],
            "public_key": key.public_line(),
            "fingerprint": key.fingerprint(),
        }
        for key, entry in zip(keys, load(source)["recipients"])
    ]
    data_keys = [make_data_key(seed, keys) for seed in (b"python 1", b"python 2")]
    save(target, {"made_by": "Python's cryptography", "recipients": recipients, "data_keys": data_keys})
    check("values and wraps made", lambda: True)


def make_data_key(seed, keys):
    data_key = DataKey(hashlib.sha256(seed).digest())
    values = []
    for number, (kind, value, bound, pad, subject) in enumerate(CASES):
        nonce, context = hashlib.sha256(seed + bytes([number])).digest()[:12], f"interop/{number}"
        sealed = data_key.seal(nonce, context, bound, subject, pad, kind, value)
        values.append(
            {
                "context": context,
                "bound": bound,
                "pad": pad,
                "subject": subject and subject.hex(),
                "nonce": nonce.hex(),
                "kind": kind,
                "value": value,
                "sealed": sealed,
            }
        )
    return {
        "secret": data_key.secret.hex(),
        "key_id": b64(data_key.id),
        "commitment": data_key.commitment.hex(),
        "wraps": {key.suite: b64(key.wrap(data_key)) for key in keys},
        "values": values,
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["open", path]:
            open_all(path)
        case ["make", source, target]:
            make(source, target)
        case _:
            sys.exit(__doc__)
    print(f"{PASSED} passed, {FAILED} failed")
    sys.exit(1 if FAILED or not PASSED else 0)
