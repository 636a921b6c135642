"""Signed plans: with a key set, only documents that a holder of the key has signed are served.

The signature is HMAC-SHA256 over the digest of the document (`store.plan_digest`: its JSON in the
order written, without whitespace, non-ASCII escaped), as hex. Whoever can write to the store, or
has the write token, cannot make one.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.experiment.errors import UnsignedPlan
from service.experiment.store import plan_digest

SIGNATURE_HEADER = "finerank-signature"  # of a write over HTTP


@dataclass(frozen=True)
class PlanKey:
    """The shared secret of those who may change plans."""

    secret: str = field(repr=False)

    def sign(self, document: Mapping[str, Any]) -> str:
        digest = plan_digest(document)
        return hmac.new(self.secret.encode(), digest.encode(), hashlib.sha256).hexdigest()

    def check(self, document: Mapping[str, Any], signature: str) -> None:
        """Raise UnsignedPlan unless the signature is that of this document."""
        if not signature:
            raise UnsignedPlan("the plan is not signed, and this service serves signed plans only")
        wanted = self.sign(document).encode()
        if not hmac.compare_digest(wanted, signature.encode("utf-8", "replace")):
            raise UnsignedPlan("the plan's signature is not that of this document under this key")
