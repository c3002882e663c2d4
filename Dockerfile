FROM python:3.13-slim AS build
RUN python -m venv /opt/jossiedb
WORKDIR /src
COPY requirements-image.lock .
RUN /opt/jossiedb/bin/pip install --no-cache-dir --require-hashes -r requirements-image.lock
COPY . .
RUN /opt/jossiedb/bin/pip install --no-cache-dir --no-build-isolation --no-deps . \
 && /opt/jossiedb/bin/pip uninstall -y setuptools pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin jossiedb
COPY --from=build /opt/jossiedb /opt/jossiedb
ENV PATH=/opt/jossiedb/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 JOSSIEDB_ENV=production
USER jossiedb
WORKDIR /
EXPOSE 3002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["jossiedb", "healthcheck"]
ENTRYPOINT ["jossiedb"]
CMD ["serve", "--host", "0.0.0.0"]
