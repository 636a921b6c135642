import re

from service import errors
from service.errors import ServiceError

FAMILY = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, ServiceError)
]


def test_every_kind_of_refusal_has_a_code_a_title_and_a_status_of_its_own_class():
    codes = [found.code for found in FAMILY]
    assert len(set(codes)) == len(codes)
    assert len({found.title for found in FAMILY}) == len(FAMILY)
    for found in FAMILY:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", found.code)
        assert 400 <= found.status < 600


def test_an_error_is_its_sentence():
    assert str(errors.UnknownScene("scene 'x' has no plan")) == "scene 'x' has no plan"
