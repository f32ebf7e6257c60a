"""The negative control of `restore`: identity with a relay that does not see when stream and log have parted.

`python -m faults.blind_identity all`.
"""

import sys

from chassis import relay
from chassis.epochs import Epochs
from chassis.jetstream import StreamInfo
from services.identity.service import service
from services.identity.settings import Settings


class BlindEpochs(Epochs):
    """Takes the stream as it is."""

    async def _fork(self, info: StreamInfo) -> int | None:
        return None


if __name__ == "__main__":
    relay.Epochs = BlindEpochs  # type: ignore[attr-defined]  # in place of those it would ask
    service(Settings.from_environment()).run(sys.argv[1:])
