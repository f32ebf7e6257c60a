"""Prints the ids of all customers in a segment, however many.

SCRM_TOKEN=$(make -s token) python export_segment.py <segment id>
"""

import asyncio
import os
import sys

from scrm.tagging.v1.tagging_service_pb2 import ExportSegmentRequest
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub
from scrm_client import Connection, whole


async def main(segment: str) -> None:
    address = os.environ.get("SCRM_GATEWAY", "127.0.0.1:8080")
    async with Connection(address, os.environ["SCRM_TOKEN"]) as crm:
        tagging = TaggingServiceStub(crm.channel)
        async for portion in whole(tagging.ExportSegment, ExportSegmentRequest(segment_id=segment)):
            for member in portion.members:
                print(member.customer_id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
