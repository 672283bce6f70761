"""WebSocket frames as a server writes them (RFC 6455, 5.2): whole, not masked, not compressed."""

from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
FINAL: Final = 0x80
LARGEST_SHORT: Final = 125
LARGEST_MEDIUM: Final = 0xFFFF


def frame_head(kind: int, size: int) -> bytes:
    """Write what stands before that many bytes."""
    if size <= LARGEST_SHORT:
        return bytes((FINAL | kind, size))
    if size <= LARGEST_MEDIUM:
        return bytes((FINAL | kind, 126)) + size.to_bytes(2, "big")
    return bytes((FINAL | kind, 127)) + size.to_bytes(8, "big")


def frame(kind: int, content: bytes = b"") -> bytes:
    """Write a frame."""
    return frame_head(kind, len(content)) + content


def close_frame(code: int, reason: str = "") -> bytes:
    """Write a close frame; the reason must have room in it."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
