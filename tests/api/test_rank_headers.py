import pytest

from service.api.rank_headers import RankHeaders, read_rank_headers
from service.errors import MalformedHeader


def test_without_headers_nothing_is_known():
    assert read_rank_headers([]) == RankHeaders(None, None, None, None)


def test_everything_is_read_in_one_pass_over_an_iterator():
    raw = [
        (b"host", b"x"),
        (b"grpc-timeout", b"1S"),
        (b"x-request-id", b"r-1"),
        (b"content-length", b"12"),
        (b"x-request-timeout-ms", b"40"),
    ]
    assert read_rank_headers(iter(raw)) == RankHeaders(40.0, None, "r-1", 12)


def test_of_a_header_given_twice_the_first_counts():
    raw = [(name, value) for value in (b"1", b"2") for name in (b"x-request-id", b"content-length")]
    assert read_rank_headers(raw) == RankHeaders(None, None, "1", 1)
    # What cannot be used hides what could be.
    raw = [(b"x-request-id", b"a b"), (b"x-request-id", b"b")]
    assert read_rank_headers(raw).request_id is None


@pytest.mark.parametrize("given", [b"", b"a b", b"\xe9", b"x" * 129, b"a\tb"])
def test_an_id_that_a_reply_could_not_repeat_is_none(given):
    assert read_rank_headers([(b"x-request-id", given)]).request_id is None


@pytest.mark.parametrize("given", [b"", b"-1", b"1.5", b"\xb2", b"0x1"])
def test_a_length_that_is_no_number_is_unknown(given):
    assert read_rank_headers([(b"content-length", given)]).body_bytes is None


def test_a_malformed_deadline_is_kept_for_the_answer_and_says_nothing_of_time():
    raw = [(b"x-request-timeout-ms", b"40"), (b"grpc-timeout", b"soon"), (b"x-request-id", b"r")]
    found = read_rank_headers(raw)
    assert (found.timeout_ms, found.request_id) == (None, "r")
    assert isinstance(found.malformed, MalformedHeader)
    assert (
        str(found.malformed) == "grpc-timeout: 'soon' is not 1 to 8 digits and a unit (H M S m u n)"
    )
