from __future__ import annotations

import pytest

from tests.core.set_laws import SetMachine, profile

pytestmark = pytest.mark.pure

SetMachine.TestCase.settings = profile(30)
TestSets = SetMachine.TestCase
