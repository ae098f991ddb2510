"""What a file says of who is told how a run ended, and what of that cannot be meant."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from streamsvd.errors import DescriptionError
from streamsvd.pipelines.webhooks import fault_of_address, host_of

MOST_RETRIES = 20
"""Of an address: waits double, so that more would be of no use."""


class NoticeDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command, or an address, that is told how a run ended: the record is its input. Of a run that was interrupted nobody is told."""

    command: list[str] = []
    url: str | None = None
    when: Literal["always", "failure", "change"] = "failure"
    seconds: float = 30.0
    retries: int = 0
    name: str = ""


def check_notice(notice: NoticeDescription, where: str) -> None:
    """Refuse a notice to nobody or to two, and a limit that leaves it no time."""
    if notice.url is not None:
        _check_webhook(notice, notice.url, where)
    elif not notice.command or not notice.command[0]:
        raise DescriptionError(
            f'there is no command - at {where}.command. Write its words, such as ["mail", "-s", "run", "me"].'
        )
    elif notice.retries:
        raise DescriptionError(
            f"retries={notice.retries} is of addresses, and a command is run once - at {where}.retries. Leave it out."
        )
    if any("\0" in word for word in notice.command):
        raise DescriptionError(
            f"a word of the command has a null character - at {where}.command. Remove it."
        )
    if not 0 < notice.seconds < math.inf:
        raise DescriptionError(
            f"seconds={notice.seconds:g} leaves it no limit of time - at {where}.seconds. Pass a number above 0."
        )


def _check_webhook(notice: NoticeDescription, url: str, where: str) -> None:
    """Refuse what nothing can be posted to."""
    if notice.command:
        raise DescriptionError(
            f"a notice has a command or a url, found both - at {where}. Write two notices."
        )
    if fault := fault_of_address(url):
        name = host_of(url) if "://" in url else repr(url)
        raise DescriptionError(
            f"{name} {fault} - at {where}.url. Write it as http://HOST:PORT/PATH or https://HOST/PATH."
        )
    if not 0 <= notice.retries <= MOST_RETRIES:
        raise DescriptionError(
            f"retries={notice.retries} is out of range - at {where}.retries. Pass 0 to {MOST_RETRIES}."
        )
