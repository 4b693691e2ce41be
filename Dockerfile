# Two targets: docker build --target cpu -t animegen . (the default), or --target gpu.
#   docker run --rm --user "$(id -u)" -v "$PWD:/work" animegen sample --n 64 --out grid.png
# The gpu image brings CUDA and cuDNN as wheels; the host brings the driver: docker run --gpus all …
#
# Each target has three layers of its own, what changes least first: the dependencies, the models, the code. A release
# that changes code alone sends the last one, of some hundred kilobytes.

# Only the lists of dependencies leave this stage, so that no other line of pyproject.toml moves their layer.
FROM python:3.13-slim AS requirements
WORKDIR /src
COPY pyproject.toml ./
RUN python -c "import tomllib; from pathlib import Path; \
project = tomllib.loads(Path('pyproject.toml').read_text())['project']; \
[Path(extra + '.txt').write_text('\n'.join(project['dependencies'] + project['optional-dependencies'][extra])) \
 for extra in ('cpu', 'gpu')]"

# The wheel of the code. Of models/ it sees the licence alone: the models have a layer of their own.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY models/LICENSE ./models/
COPY animegen ./animegen
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:3.13-slim AS runtime
RUN useradd --create-home --uid 10001 animegen
ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

FROM runtime AS gpu
RUN --mount=type=bind,from=requirements,source=/src/gpu.txt,target=/gpu.txt pip install --requirement /gpu.txt
# Where the package looks for what is shipped with it, readable for any user whatever the mask of the checkout.
COPY --chmod=755 models /usr/local/lib/python3.13/site-packages/animegen/models
RUN --mount=type=bind,from=build,source=/dist,target=/dist pip install --no-deps --no-index /dist/*.whl
USER 10001
WORKDIR /work
ENTRYPOINT ["animegen"]
CMD ["--help"]

FROM runtime AS cpu
RUN --mount=type=bind,from=requirements,source=/src/cpu.txt,target=/cpu.txt pip install --requirement /cpu.txt
COPY --chmod=755 models /usr/local/lib/python3.13/site-packages/animegen/models
RUN --mount=type=bind,from=build,source=/dist,target=/dist pip install --no-deps --no-index /dist/*.whl
USER 10001
WORKDIR /work
ENTRYPOINT ["animegen"]
CMD ["--help"]
