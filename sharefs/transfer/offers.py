"""Is what came with an offer what it should be?"""

from itertools import pairwise

from sharefs.errors import RemoteProtocolError
from sharefs.records.content import Manifest, chunk_id, decode_manifest, encode_manifest
from sharefs.transfer.content import Content
from sharefs.wire.transfer import Offer


def manifest_in(content: Content, offer: Offer) -> tuple[Manifest, bytes]:
    """The manifest that is known, or was offered. Raises RemoteProtocolError if that is wrong."""
    if content.layout:
        return content.layout.manifest, encode_manifest(content.layout.manifest)
    return decode_manifest(offer.manifest, content.id), offer.manifest


def verify_whole(manifest: Manifest, data: bytes) -> None:
    """Raises RemoteProtocolError unless the data are the whole content."""
    if len(data) != manifest.size:
        raise RemoteProtocolError("a small content of another length than its manifest")
    offsets = manifest.offsets()
    for index, (start, end) in enumerate(pairwise(offsets)):
        if chunk_id(data[start:end]) != manifest.chunk(index):
            raise RemoteProtocolError("a small content does not match its manifest")
