"""Which requests are logged: by a hash of the request id, the same in every process."""

import zlib

_ALL = 1 << 32


class Sample:
    """A share of all requests: CRC-32 of the id's UTF-8, over 2^32, below `share`."""

    def __init__(self, share: float) -> None:
        self._below = int(share * _ALL)

    def takes(self, request_id: str) -> bool:
        return self._below == _ALL or zlib.crc32(request_id.encode()) < self._below
