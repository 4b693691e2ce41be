"""The schema holds: whatever it allows or forbids, the server answers as it says, and never with a fault."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from animegen import Generator
from animegen.server import Limits, create_app

# A schema can't say which seeds, labels and directions go together; the server does, by 422.
_EXCLUDED: list[Any] = [positive_data_acceptance]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_each_operation_answers_as_the_schema_says(mode: GenerationMode, conditional_model: Path) -> None:
    with Generator.load(conditional_model, device="cpu") as faces:
        few = Limits(images=8, frames=8, queue=64, pixels=2**14, frame_pixels=2**14, url=2**20)
        # A name that is wrong in itself is rare, and is sought for seconds: below /v2 only right ones are tried.
        app = create_app(faces, few, v2=mode is GenerationMode.POSITIVE)
        operations = [found.ok() for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations()]
        assert len(operations) > 12
        for operation in operations:

            @settings(
                max_examples=20,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def answers(case: Case[Any]) -> None:
                case.call_and_validate(excluded_checks=_EXCLUDED)

            # Of what takes no parameters, nothing can be wrong.
            with suppress(*([Unsatisfiable] if mode is GenerationMode.NEGATIVE else [])):
                answers()
