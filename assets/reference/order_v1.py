"""Prints the golden values of wick-train's PermutationV1, computed from its definition alone.

    python3 order_v1.py

A line for each case of `values_are_fixed` in crates/train/src/order/tests.rs: the first ten places.
"""
from math import isqrt

M = 2**64 - 1


def rotl(x, b):
    return ((x << b) | (x >> (64 - b))) & M


def siphash(k0, k1, data):
    """SipHash-2-4 of bytes (Aumasson and Bernstein 2012)."""
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def sip_round():
        v[0] = (v[0] + v[1]) & M
        v[1] = rotl(v[1], 13) ^ v[0]
        v[0] = rotl(v[0], 32)
        v[2] = (v[2] + v[3]) & M
        v[3] = rotl(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & M
        v[3] = rotl(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & M
        v[1] = rotl(v[1], 17) ^ v[2]
        v[2] = rotl(v[2], 32)

    end = len(data) - len(data) % 8
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, end, 8)]
    words.append((len(data) & 255) << 56 | int.from_bytes(data[end:], "little"))
    for word in words:
        v[3] ^= word
        sip_round()
        sip_round()
        v[0] ^= word
    v[2] ^= 255
    for _ in range(4):
        sip_round()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011)."""
    (a, b, c, d), (k, l) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & 0xFFFFFFFF, (p >> 32) ^ d ^ l, p & 0xFFFFFFFF
        k, l = (k + 0x9E3779B9) & 0xFFFFFFFF, (l + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def key_words(seed, name):
    """The first two words of 64 bits of KeyedV1::new(seed).key(name).rng()."""
    h = siphash(0, 0, name.encode())
    a, b, c, d = philox((0, 2 << 28, seed & 0xFFFFFFFF, seed >> 32), (h & 0xFFFFFFFF, h >> 32))
    return a | b << 32, c | d << 32


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return z ^ (z >> 31)


def at(n, seed, name, epoch, place):
    k = key_words(seed, name)
    a = isqrt(n) + (isqrt(n) ** 2 < n)
    a += a % 2
    b = -(-n // a)
    keys = [siphash(*k, epoch.to_bytes(8, "little") + i.to_bytes(8, "little")) for i in range(16)]
    x = place
    while True:
        l, r = x % a, x // a
        for i, key in enumerate(keys):
            if i % 2 == 0:
                l = (l + (a * mix((r + key) & M) >> 64)) % a
            else:
                r = (r + (b * mix((l + key) & M) >> 64)) % b
        x = l + a * r
        if x < n:
            return x


for n, epoch in [(10, 0), (10, 1), (60000, 0), (60000, 10**9), (2**62, M)]:
    print([at(n, 42, "order", epoch, place) for place in range(10)])
