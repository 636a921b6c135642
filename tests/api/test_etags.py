import pytest
from starlette.requests import Request

from service.api.etags import Precondition, etag, read_precondition
from service.errors import EtagMismatch, EtagMissing, MalformedHeader


def request(*headers: tuple[str, str]) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("headers", "live", "holds"),
    [
        ([("If-Match", '"v41"')], 41, True),
        ([("If-Match", '"v40"')], 41, False),
        ([("If-Match", '"v40", "v41"')], 41, True),
        ([("If-Match", '"v40"'), ("If-Match", '"v41"')], 41, True),
        ([("If-Match", "*")], 41, True),
        ([("If-Match", "*")], None, False),
        ([("If-Match", '"v1"')], None, False),
        ([("If-Match", 'W/"v41"')], 41, False),
        ([("If-Match", '"something else"')], 41, False),
        ([("If-None-Match", "*")], None, True),
        ([("If-None-Match", "*")], 41, False),
    ],
)
def test_a_write_passes_only_over_the_version_it_names(headers, live, holds):
    precondition = read_precondition(request(*headers))
    if holds:
        precondition.check("feed", live)
    else:
        with pytest.raises(EtagMismatch) as refusal:
            precondition.check("feed", live)
        assert refusal.value.more["version"] == live


def test_a_mismatch_says_what_was_expected_and_what_is_live():
    with pytest.raises(
        EtagMismatch, match='scene \'feed\': the request expects "v3", but "v4" is live'
    ) as refusal:
        Precondition(versions=frozenset({3})).check("feed", 4)
    assert refusal.value.headers == {"etag": etag(4)}


def test_a_weak_etag_is_told_why_it_does_not_match():
    weak = read_precondition(request(("If-Match", 'W/"v4"')))
    with pytest.raises(EtagMismatch) as refusal:
        weak.check("feed", 4)
    assert str(refusal.value).startswith(
        "scene 'feed': the request expects a weak ETag, but \"v4\" is live;"
        ' weak ETags (W/) never match: send If-Match: "v<version>"'
    )
    read_precondition(request(("If-Match", 'W/"v3", "v4"'))).check("feed", 4)


def test_a_write_without_a_precondition_is_refused_where_one_is_required():
    with pytest.raises(EtagMissing, match='send If-Match: "v<version>", quotes included'):
        read_precondition(request())
    assert read_precondition(request(), required=False).follows_live


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([("If-Match", "v41")], "'v41' is no ETag"),
        ([("If-Match", '"v41", oops')], "'oops' is no ETag"),
        ([("If-None-Match", '"v41"')], "If-None-Match: only \\* is understood"),
        ([("If-Match", "*"), ("If-None-Match", "*")], "exclude each other"),
    ],
)
def test_a_malformed_precondition_is_refused(headers, words):
    with pytest.raises(MalformedHeader, match=words):
        read_precondition(request(*headers))
