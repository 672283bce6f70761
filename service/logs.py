"""The logs: lines on standard error, as text or JSON. Must never show the values of local variables in a traceback."""

import logging
import sys
from typing import Final

import structlog
from structlog.typing import Processor

from service.settings import Settings

SHARED: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,  # which worker it is
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logs(settings: Settings) -> None:
    """Send our own lines, and the libraries' warnings, to standard error."""
    if settings.log_format == "json":
        renderers: tuple[Processor, ...] = (
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        )
    else:
        # The plain formatter, since a pretty one prints locals, and those may be secrets.
        renderers = (
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        )
    structlog.configure(
        processors=[*SHARED, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(level=max(settings.log_level, logging.WARNING), handlers=[handler])
    # It tells of each attempt to reconnect, with a traceback; whoever needs the connection says so in a line.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
