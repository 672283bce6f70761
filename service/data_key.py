"""The data key: random, kept in the database sealed under a key-encryption key, the same for every process.

What depends on it, such as idempotency keys, does not change when the key-encryption key does. Must never be made anew
where there is one, nor be shown.
"""

import base64
from collections.abc import Callable
from typing import Final

from events.statement import Pool, load
from service.keyring import KEY_BYTES, KeyFileError, KeyRing
from service.sealing import SealedValue, SealError, seal, unseal
from service.secret_text import SecretText

FIND_DATA_KEY: Final = load("service.statements", "find_data_key")
ADD_DATA_KEY: Final = load("service.statements", "add_data_key")
DATA_KEY: Final = "idempotency"
DATA_KEY_COLUMN: Final = "vault_data_keys.ciphertext"


async def open_data_key(pool: Pool, keks: KeyRing, random_bytes: Callable[[int], bytes]) -> KeyRing:
    """Open the data key, or make it where there is none: of several processes that do, all get the same.

    Raises KeyFileError where it does not open: then the key-encryption keys are not those that it was sealed under.
    """
    row = await pool.fetchrow(FIND_DATA_KEY.text, DATA_KEY)
    if row is None:
        made = SecretText(base64.b64encode(random_bytes(KEY_BYTES)).decode("ascii"))
        sealed = seal(keks, made, row_id=DATA_KEY, column=DATA_KEY_COLUMN, random_bytes=random_bytes)
        await pool.execute(ADD_DATA_KEY.text, DATA_KEY, sealed.key_id, sealed.nonce, sealed.ciphertext)
        return await open_data_key(pool, keks, random_bytes)
    try:
        sealed = SealedValue(row["key_id"], row["nonce"], row["ciphertext"])
        opened = unseal(keks, sealed, row_id=DATA_KEY, column=DATA_KEY_COLUMN)
        return KeyRing({DATA_KEY: base64.b64decode(opened.reveal())})
    except (SealError, ValueError) as error:
        raise KeyFileError(f"the data key {DATA_KEY} in the database cannot be opened: {error}") from None
