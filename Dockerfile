# The steps of README.md on a plain Debian with Python 3.12 and pip.
#   docker build -t gradus .
#   docker run --rm -v "$PWD/runs:/gradus/runs" gradus run --task cartpole-balance --algo ppo --budget smoke
# On a machine with an NVIDIA GPU and its container toolkit: `docker run --gpus all ...`.
FROM python:3.12-bookworm AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgl1 libx11-6 libxt6 libsm6 \
 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv

FROM base AS gradus
WORKDIR /gradus
COPY . .
RUN uv sync --no-dev --no-cache
ENTRYPOINT ["uv", "run", "--no-sync", "gradus"]
