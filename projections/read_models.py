"""Every read model there is. Must never know how one works."""

from collections.abc import Mapping
from typing import Final

from projections.applications import APPLICATIONS
from projections.last_used import TOKEN_LAST_USED
from projections.members import MEMBERS
from projections.organizations import ORGANIZATIONS
from projections.projection import AnyProjection
from projections.sign_ins import MEMBER_SIGN_INS
from projections.token_row import TOKENS

READ_MODELS: Final[Mapping[str, AnyProjection]] = {
    projection.name: projection
    for projection in (TOKENS, ORGANIZATIONS, APPLICATIONS, MEMBERS, TOKEN_LAST_USED, MEMBER_SIGN_INS)
}
FOLLOWING: Final = tuple(projection for projection in READ_MODELS.values() if not projection.is_inline)
"""Those that follow the log from a checkpoint; the others are written within each append."""
