# Bridge and workers: `mqbridge` is the entry point, the command says which.
FROM python:3.13-slim
RUN useradd --uid 1000 --create-home --shell /usr/sbin/nologin mqbridge
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY activemq activemq
COPY bridge bridge
COPY consumers consumers
COPY mqbridge mqbridge
RUN pip install --no-cache-dir '.[fast,demo]'
USER 1000
ENTRYPOINT ["mqbridge"]
