"""The examples that every help ends with."""


def examples(*commands: str) -> str:
    """Write examples a line each, as click then leaves them."""
    return "\n".join(("\b", "Examples:", *(f"  {command}" for command in commands)))
