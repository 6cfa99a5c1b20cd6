"""Let failed assertions of the suite explain themselves."""

import pytest

for name in ("checks", "cloud", "creation", "life", "suite"):
    pytest.register_assert_rewrite(f"tests.contract.{name}")
