"""The names of images: a read of VMs costs as much as its servers, not as the cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from vmapi.backends.openstack.catalog.image_names import ImageNames
from vmapi.backends.openstack.catalog.items import GlanceImage
from vmapi.backends.openstack.connection.session import CloudSession
from vmapi.domain.catalog import Image


class UnlimitedSession:
    """A session without deadlines."""

    @contextmanager
    def call_timeout(self, seconds: float) -> Iterator[None]:
        yield


class CountingList(list[GlanceImage]):
    """A list that counts its iterations."""

    iterations = 0

    def __iter__(self) -> Iterator[GlanceImage]:
        self.iterations += 1
        return super().__iter__()


def image(image_id: str) -> GlanceImage:
    return GlanceImage(Image(image_id, f"name-{image_id}", "active", 0, 0), "public", "")


def servers(*image_ids: str) -> list[Any]:
    return [{"image": {"id": image_id}} for image_id in image_ids]


@pytest.fixture
def listed() -> CountingList:
    return CountingList([image("a"), image("b")])


@pytest.fixture
def names(listed: CountingList) -> ImageNames:
    return ImageNames(cast("CloudSession", UnlimitedSession()), lambda: listed, image)


def test_names_are_those_of_the_servers_only(names: ImageNames) -> None:
    assert names.get(servers("x", "y", "a")) == {"x": "name-x", "y": "name-y", "a": "name-a"}
    assert names.get(servers("x", "a")) == {"x": "name-x", "a": "name-a"}
    assert names.get(servers()) == {}


def test_list_of_images_is_indexed_once(names: ImageNames, listed: CountingList) -> None:
    for _ in range(3):
        assert names.get(servers("b")) == {"b": "name-b"}
    assert listed.iterations == 1
