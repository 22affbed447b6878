# Why this exists: the image of the stages: the coclr command, libtorch and ffmpeg.
# docker build -f images/engine.Dockerfile -t coclr-engine:0.1.0 .
# docker build -f images/engine.Dockerfile --build-arg TORCH_BACKEND=cuda -t coclr-engine:0.1.0-cuda .
ARG DOTNET=mcr.microsoft.com/dotnet
FROM ${DOTNET}/sdk:10.0-noble AS build
ARG TORCH_BACKEND=cpu
WORKDIR /source
COPY . .
RUN dotnet publish src/CoCLR.Cli/CoCLR.Cli.csproj -c Release -r linux-x64 --no-self-contained -p:TorchBackend=${TORCH_BACKEND} -o /app

FROM ${DOTNET}/aspnet:10.0-noble
RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /app /app
ENV PATH=/app:$PATH DOTNET_EnableDiagnostics=0 HOME=/tmp
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["/app/coclr"]
