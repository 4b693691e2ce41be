# Three targets: docker build --target cpu -t animegen . (the default), --target gpu, or --target train.
#   docker run --rm -p 8720:8720 animegen          serves, with the page at /
#   docker run --rm --user "$(id -u)" -v "$PWD:/work" animegen sample --n 64 --out grid.png
#   docker run --rm --gpus all -v "$PWD:/work" animegen-train fit --data data/faces64 --out runs/faces
# gpu and train bring CUDA and cuDNN as wheels; the host brings the driver: docker run --gpus all …
#
# What is installed beside Python itself, as tests/container.py counts it: 374 MB in cpu (107 the encoder of MP4s, 80 ONNX
# Runtime, 71 numpy, 36 the models), 2.8 GB in gpu (2.2 CUDA and cuDNN), 6.2 GB in train (3.4 CUDA's libraries, 1.2
# torch, 0.9 Triton).
#
# Each target has three layers of its own, what changes least first: the dependencies, the models, the code. A release
# that changes code alone sends the last one, of some hundred kilobytes.

# Only the lists of dependencies leave this stage, so that no other line of pyproject.toml moves their layer.
FROM python:3.13-slim AS requirements
WORKDIR /src
COPY pyproject.toml ./
RUN python -c "import tomllib; from pathlib import Path; \
project = tomllib.loads(Path('pyproject.toml').read_text())['project']; \
extras = project['optional-dependencies']; \
[Path(extra + '.txt').write_text('\n'.join(project['dependencies'] + extras[extra] + extras['serve'])) \
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
EXPOSE 8720
# With a token too: /readyz is open. It says 503 while models warm up, and while the server drains.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import os, urllib.request; \
urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('ANIMEGEN_SERVE_PORT', 8720)}/readyz\", timeout=2)"]
ENTRYPOINT ["animegen"]
CMD ["serve", "--host", "0.0.0.0"]

# Training, from the checkout's train/, which no wheel holds.
FROM runtime AS train
RUN --mount=type=bind,from=requirements,source=/src/cpu.txt,target=/cpu.txt \
    --mount=type=bind,source=train/requirements.txt,target=/train.txt \
    pip install --requirement /cpu.txt --requirement /train.txt
COPY --chmod=755 models /usr/local/lib/python3.13/site-packages/animegen/models
RUN --mount=type=bind,from=build,source=/dist,target=/dist pip install --no-deps --no-index /dist/*.whl
COPY --chmod=755 train /usr/local/lib/python3.13/site-packages/train
# What a card says of the code: --build-arg REVISION="$(git rev-parse --short=12 HEAD)".
ARG REVISION=unknown
ENV ANIMEGEN_REVISION=$REVISION
USER 10001
WORKDIR /work
ENTRYPOINT ["python", "-m", "train"]
CMD ["--help"]

FROM runtime AS cpu
RUN --mount=type=bind,from=requirements,source=/src/cpu.txt,target=/cpu.txt pip install --requirement /cpu.txt
COPY --chmod=755 models /usr/local/lib/python3.13/site-packages/animegen/models
RUN --mount=type=bind,from=build,source=/dist,target=/dist pip install --no-deps --no-index /dist/*.whl
USER 10001
WORKDIR /work
EXPOSE 8720
# With a token too: /readyz is open. It says 503 while models warm up, and while the server drains.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import os, urllib.request; \
urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('ANIMEGEN_SERVE_PORT', 8720)}/readyz\", timeout=2)"]
ENTRYPOINT ["animegen"]
CMD ["serve", "--host", "0.0.0.0"]
