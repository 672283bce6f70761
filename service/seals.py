"""The seals of the vault: secrets that must be shown again or that sign, sealed for their own row alone.

A seal that does not open is refused, and its row is named. Must never open one for another row, nor say anything of
what is in it.
"""

from typing import Any, Final

from events.statement import Pool, load
from service.sealing import SealedValue, SealError, SealKeyMissingError, seal, unseal
from service.secret_text import SecretText
from service.vault import Keys, bytea

FIND_SEAL: Final = load("service.statements", "find_seal")
FORGET_ENDED_SEALS: Final = load("service.statements", "forget_ended_seals")
SEAL_COLUMN: Final = "vault_seals.ciphertext"


def seal_row(keys: Keys, secret: SecretText, *, token_id: str, generation: int, organization: str) -> dict[str, Any]:
    """Write the row that keeps a secret recoverable, for the companion `vault_seals`."""
    row_id = seal_row_id(organization, token_id, generation)
    sealed = seal(keys.keks, secret, row_id=row_id, column=SEAL_COLUMN, random_bytes=keys.random_bytes)
    return {
        "token_id": token_id,
        "generation": generation,
        "organization": organization,
        "key_id": sealed.key_id,
        "nonce": bytea(sealed.nonce),
        "ciphertext": bytea(sealed.ciphertext),
    }


async def find_seal(pool: Pool, keys: Keys, *, token_id: str, generation: int, organization: str) -> SecretText | None:
    """Open the seal of one generation of a token's secret; None where there is none.

    Raises SealError, or SealKeyMissingError where its key is not loaded: either names the row.
    """
    row = await pool.fetchrow(FIND_SEAL.text, token_id, generation, organization)
    if row is None:
        return None
    sealed = SealedValue(row["key_id"], row["nonce"], row["ciphertext"])
    row_id = seal_row_id(organization, token_id, generation)
    try:
        return unseal(keys.keks, sealed, row_id=row_id, column=SEAL_COLUMN)
    except SealError as error:
        kind = SealKeyMissingError if isinstance(error, SealKeyMissingError) else SealError
        raise kind(f"the seal of {row_id} cannot be opened: {error}") from None


def seal_row_id(organization: str, token_id: str, generation: int) -> str:
    """Name the row of a seal: what binds it, and what errors say of it."""
    return f"{organization}/{token_id}/{generation}"


async def forget_ended_seals(pool: Pool) -> None:
    """Delete the seals of secrets that do not work any more."""
    await pool.execute(FORGET_ENDED_SEALS.text)
