# Two targets from one wheel: docker build --target cpu -t animegen . (the default), or --target gpu.
#   docker run --rm --user "$(id -u)" -v "$PWD:/work" animegen sample --n 64 --out grid.png
# The gpu image brings CUDA and cuDNN as wheels; the host brings the driver: docker run --gpus all …

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY animegen ./animegen
COPY models ./models
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:3.13-slim AS runtime
RUN useradd --create-home --uid 10001 animegen
ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

FROM runtime AS gpu
# The wheel is the one just built; its dependencies have floors, and an image is rebuilt to move them.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/dist,target=/dist \
    wheels=(/dist/*.whl) && pip install "${wheels[0]}[gpu]"
USER 10001
WORKDIR /work
ENTRYPOINT ["animegen"]
CMD ["--help"]

FROM runtime AS cpu
# The wheel is the one just built; its dependencies have floors, and an image is rebuilt to move them.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/dist,target=/dist \
    wheels=(/dist/*.whl) && pip install "${wheels[0]}[cpu]"
USER 10001
WORKDIR /work
ENTRYPOINT ["animegen"]
CMD ["--help"]
