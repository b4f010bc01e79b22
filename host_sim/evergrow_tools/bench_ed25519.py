"""Ed25519 verification (RFC 8032 section 5.1.7) in plain Python, as a board without it in C would have to run it.

A peer for `bench_lms` and nothing else: it is never part of a device, and it takes no care of anything but speed. SHA-512 is
here too, since MicroPython's hashlib has none.
"""

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
_MASK = (1 << 64) - 1


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the 64-byte signature over `message` is good under the 32-byte key."""
    a = _point(public)
    r = _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(sha512(signature[:32] + public + message), "little") % L
    # [s]B = R + [h]A, as [s]B + [h](-A) = R, with one chain of doublings for both
    minus_a = (P - a[0], a[1], 1, (P - a[0]) * a[1] % P)
    both = _add(_BASE, minus_a)
    sum_ = (0, 1, 1, 0)
    for bit in range(252, -1, -1):
        sum_ = _double(sum_)
        choice = (s >> bit & 1) | (h >> bit & 1) << 1
        if choice:
            sum_ = _add(sum_, (None, _BASE, minus_a, both)[choice])
    x, y, z, _ = sum_
    return bool((x - r[0] * z) % P == 0 and (y - r[1] * z) % P == 0)


def _add(p, q):  # type: ignore[no-untyped-def]
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(p):  # type: ignore[no-untyped-def]
    a = p[0] * p[0] % P
    b = p[1] * p[1] % P
    c = 2 * p[2] * p[2] % P
    h = a + b
    e = h - (p[0] + p[1]) * (p[0] + p[1]) % P
    g = a - b
    f = c + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def _point(encoded: bytes):  # type: ignore[no-untyped-def]
    y = int.from_bytes(encoded, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * pow(2, (P - 1) // 4, P) % P
        if v * x * x % P != u:
            return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def sha512(data: bytes) -> bytes:
    """FIPS 180-4."""
    state = list(_START)
    padded = data + b"\x80" + bytes(-(len(data) + 17) % 128) + (8 * len(data)).to_bytes(16, "big")
    for at in range(0, len(padded), 128):
        w = [int.from_bytes(padded[at + 8 * i : at + 8 * i + 8], "big") for i in range(16)]
        for i in range(16, 80):
            x, y = w[i - 15], w[i - 2]
            s0 = _turn(x, 1) ^ _turn(x, 8) ^ x >> 7
            s1 = _turn(y, 19) ^ _turn(y, 61) ^ y >> 6
            w.append(w[i - 16] + s0 + w[i - 7] + s1 & _MASK)
        a, b, c, d, e, f, g, h = state
        for i in range(80):
            t1 = h + (_turn(e, 14) ^ _turn(e, 18) ^ _turn(e, 41)) + (e & f ^ ~e & g) + _ROUNDS[i] + w[i]
            t2 = (_turn(a, 28) ^ _turn(a, 34) ^ _turn(a, 39)) + (a & b ^ a & c ^ b & c)
            a, b, c, d, e, f, g, h = t1 + t2 & _MASK, a, b, c, d + t1 & _MASK, e, f, g
        state = [(x + y) & _MASK for x, y in zip(state, (a, b, c, d, e, f, g, h))]  # noqa: B905
    return b"".join([word.to_bytes(8, "big") for word in state])


def _turn(x: int, n: int) -> int:
    return (x >> n | x << 64 - n) & _MASK


def _root(n: int, k: int) -> int:
    """The first 64 bits behind the point of the k-th root of n."""
    n <<= 64 * k
    low, high = 0, 1 << 68
    while high - low > 1:
        mid = (low + high) // 2
        low, high = (mid, high) if mid**k <= n else (low, mid)
    return low & _MASK


_PRIMES = [n for n in range(2, 410) if all([n % k for k in range(2, n)])]
_START = [_root(n, 2) for n in _PRIMES[:8]]
_ROUNDS = [_root(n, 3) for n in _PRIMES[:80]]
_BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
