"""Log lines: JSON for machines, coloured text on a terminal."""

import asyncio
import logging
import sys

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer

from more_server.errors import MoreError


def configure(level: str, style: str) -> None:
    """Send structlog's and the standard library's lines to standard error in one shape.

    style: `json`, `text`, or `auto`: text where standard error is a terminal.
    """
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks without local variables, which both renderers would show: they hold the text that people send.
    as_dict = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    renderer: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if as_text
        else [as_dict, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderer,
            ],
        )
    )
    handler.addFilter(_is_news)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It tells each address that it asks, and that of a webhook may be what lets somebody in.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _is_news(record: logging.LogRecord) -> bool:
    """False for uvicorn's traceback of a connection that was cut on purpose: the request's own line tells why."""
    return not (record.exc_info and _is_told(record.exc_info[1]))


def _is_told(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_told, error.exceptions))
    return error is not None and (isinstance(error, MoreError | asyncio.CancelledError) or _is_told(error.__cause__))
