"""What says of itself that it is a program: mail scanners, previews of messengers, crawlers (TR-1, TR-7).

The words are those that stand in the user agents of programs and in none of a browser: the general ones of the crawler-user-agents list,
and the names of scanners and previews that have none of these. Who pretends to be a browser is told by the beacon that never comes.
"""

import re
from typing import Final

_ROBOT: Final = re.compile(
    r"(?<!cu)bot\b|bot[/_-]|crawl|spider|slurp|(?:url|mail|virus|link)scan|preview|prefetch|headless|facebookexternalhit|facebookcatalog"
    r"|whatsapp/|mediapartners|lighthouse|pingdom|uptime|curl/|wget/|python|httpx|aiohttp|okhttp|go-http-client|java/|libwww|axios"
    r"|node-fetch|ruby|barracuda|proofpoint|mimecast|safelinks|ms-?office|microsoft office|skypeuri|yahoo! link|embedly|vkshare"
)


def is_robot(user_agent: str) -> bool:
    """Whether the user agent is of a program; one that says nothing is."""
    return not user_agent or _ROBOT.search(user_agent.lower()) is not None
