# JupyterLab on the notebooks, with XLA on the CPU:
#
#   docker build -t gomfm .
#   docker run --rm -p 127.0.0.1:8888:8888 gomfm     # prints an address with a token
#
# The stage base has what scripts/setup needs; .devcontainer uses it.

FROM golang:1.26.5-bookworm AS base
RUN apt-get update && apt-get install -y --no-install-recommends gcc git libc6-dev python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home --uid 1000 --shell /bin/bash gomfm \
    && install -d -o gomfm -g gomfm /home/gomfm/gomfm
# The caches of Go are in the home folder, as scripts/setup says.
ENV GOPATH=/home/gomfm/go

FROM base
COPY --chown=gomfm . /home/gomfm/gomfm
USER gomfm
WORKDIR /home/gomfm/gomfm
RUN scripts/setup
EXPOSE 8888
CMD ["scripts/lab", "--no-browser", "--ip", "0.0.0.0", "--port", "8888"]
