"""What a password costs in tests that are not about the cost."""

from typing import Final

from service.hashing import SMALL, Cost

CHEAP: Final = Cost(hasher=SMALL.hasher, most_memory_kib=131_072, most_passes=6, most_lanes=8)
"""As little as a secret's digest; what may be asked for at most is what passwords may."""
