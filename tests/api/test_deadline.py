import pytest
from starlette.datastructures import Headers

from service.api.deadline import read_timeout_ms
from service.errors import MalformedHeader


@pytest.mark.parametrize(
    ("headers", "timeout_ms"),
    [
        ({}, None),
        ({"X-Request-Timeout-Ms": "40"}, 40),
        ({"X-Request-Timeout-Ms": "1"}, 1),
        ({"X-Request-Timeout-Ms": "5000"}, 5000),
        ({"x-envoy-expected-rq-timeout-ms": "250"}, 250),
        ({"grpc-timeout": "1S"}, 1000),
        ({"grpc-timeout": "70m"}, 70),
        ({"grpc-timeout": "25000u"}, 25),
        ({"grpc-timeout": "30000000n"}, 30),
        ({"X-Request-Timeout-Ms": "90", "grpc-timeout": "80m"}, 80),
        ({"X-Request-Timeout-Ms": "90", "x-envoy-expected-rq-timeout-ms": "30"}, 30),
    ],
)
def test_the_smallest_timeout_of_all_headers_wins(headers, timeout_ms):
    assert read_timeout_ms(Headers(headers)) == timeout_ms


def test_a_header_given_twice_counts_twice():
    raw = [(b"x-request-timeout-ms", b"90"), (b"x-request-timeout-ms", b"60")]
    assert read_timeout_ms(Headers(raw=raw)) == 60


@pytest.mark.parametrize(
    ("header", "text"),
    [("x-envoy-expected-rq-timeout-ms", "15000"), ("grpc-timeout", "1M"), ("grpc-timeout", "1H")],
)
def test_a_mesh_that_waits_longer_than_5_s_is_cut_to_5_s(header, text):
    assert read_timeout_ms(Headers({header: text})) == 5000


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "4e1", "40ms", "٤٠", "1" * 30, "NaN"])
@pytest.mark.parametrize("header", ["X-Request-Timeout-Ms", "x-envoy-expected-rq-timeout-ms"])
def test_what_is_no_whole_number_is_refused_with_the_header(header, text):
    with pytest.raises(MalformedHeader, match="is not a whole number of milliseconds") as refusal:
        read_timeout_ms(Headers(raw=[(header.lower().encode(), text.encode("utf-8"))]))
    assert refusal.value.faults[0].header == header


@pytest.mark.parametrize("text", ["0", "5001", "60000"])
def test_our_own_header_outside_1_to_5000_ms_is_refused(text):
    with pytest.raises(MalformedHeader, match=f"'{text}' is outside 1 … 5000 ms"):
        read_timeout_ms(Headers({"X-Request-Timeout-Ms": text}))


@pytest.mark.parametrize("text", ["999u", "0S", "999999n"])
def test_a_grpc_timeout_below_1_ms_is_refused(text):
    with pytest.raises(MalformedHeader, match="is outside 1"):
        read_timeout_ms(Headers({"grpc-timeout": text}))


@pytest.mark.parametrize("text", ["40", "40ms", "S", "123456789m", "40s", "4.0S", " "])
def test_a_malformed_grpc_timeout_is_refused(text):
    with pytest.raises(MalformedHeader, match=r"is not 1 to 8 digits and a unit \(H M S m u n\)"):
        read_timeout_ms(Headers({"grpc-timeout": text}))
