"""Raw values -> the model's arrays: the one transform that training and serving both call.

Every function is pure. What is defaulted, unknown or out of vocabulary is counted, never silent;
a value that its feature cannot take raises `EncodeError` with feature, row and value.
"""

from service.contract.encode.blocks import encode_request, encode_rows, encode_side
from service.contract.encode.columns import Array, Column, Columns, Counts
from service.contract.encode.lookups import look_up
from service.contract.encode.numbers import numbers

__all__ = [
    "Array",
    "Column",
    "Columns",
    "Counts",
    "encode_request",
    "encode_rows",
    "encode_side",
    "look_up",
    "numbers",
]
