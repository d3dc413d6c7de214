"""Counts primes with all cores: a bar for the whole, and under it one for each worker's chunk."""

import sys
from itertools import pairwise
from math import isqrt
from multiprocessing import Pool

from socketprogress import Reporter, track

CHUNKS = 20


def is_prime(number: int) -> bool:
    """Whether a number has no divisor but 1 and itself."""
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def count(chunk: range) -> int:
    """Count the primes of a chunk, in whichever process this runs."""
    return sum(
        is_prime(number) for number in track(chunk, name="chunk", title=f"From {chunk.start:,}")
    )


if __name__ == "__main__":
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    edges = [most * number // CHUNKS for number in range(CHUNKS + 1)]
    chunks = [range(first, last) for first, last in pairwise(edges)]
    with Reporter("count_primes", title=f"Primes below {most:,}", total=CHUNKS) as bar:
        bar.result = 0
        with Pool() as pool:  # after the bar, so that its processes know whose part they are
            for found in pool.imap_unordered(count, chunks):
                bar.result += found
                bar.advance()
            pool.close()
            pool.join()
        print(bar.result)
