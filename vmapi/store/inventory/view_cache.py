"""Cache of the views of the live VMs. The least recently used leave it."""

from collections import OrderedDict

from vmapi.store.inventory.vm_view import IndexedVM, Selection, View

MAX_VIEW_ENTRIES = 2_000_000
"""VMs in all views together, with 8 bytes each. One larger view is cached alone."""

ViewKey = tuple[Selection, str]
"""A selection and a column."""


class ViewCache:
    """Views by selection and column. Not thread-safe."""

    def __init__(self) -> None:
        # the least recently used first
        self._views: OrderedDict[ViewKey, View] = OrderedDict()
        self._entries = 0

    def __contains__(self, key: ViewKey) -> bool:
        return key in self._views

    def find(self, key: ViewKey) -> View | None:
        """Return a view, if it is cached, and count the use."""
        view = self._views.get(key)
        if view is not None:
            self._views.move_to_end(key)
        return view

    def add(self, key: ViewKey, view: View) -> None:
        """Store a view."""
        self._views[key] = view
        self._entries += len(view)
        self._evict()

    def replace(self, previous: IndexedVM | None, vm: IndexedVM | None) -> None:
        """Remove a VM from the views, and add its successor. A change counts as no use."""
        projects = {None, *(row.project for row in (previous, vm) if row is not None)}
        for view in self._views.values():
            if view.selection.project in projects:
                self._entries += view.replace(previous, vm)
        self._evict()

    def clear(self) -> None:
        """Drop all views."""
        self._views.clear()
        self._entries = 0

    def _evict(self) -> None:
        while self._entries > MAX_VIEW_ENTRIES and len(self._views) > 1:
            _, oldest = self._views.popitem(last=False)
            self._entries -= len(oldest)
