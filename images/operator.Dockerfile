# Why this exists: the operator's image where `dotnet publish /t:PublishContainer` cannot be used.
# docker build -f images/operator.Dockerfile -t coclr-operator:0.1.0 .
ARG DOTNET=mcr.microsoft.com/dotnet
FROM --platform=$BUILDPLATFORM ${DOTNET}/sdk:10.0-noble AS build
ARG TARGETARCH
WORKDIR /source
COPY . .
RUN dotnet publish operator/CoCLR.Operator/CoCLR.Operator.csproj -c Release -a ${TARGETARCH:-amd64} -o /app

FROM ${DOTNET}/aspnet:10.0-noble-chiseled-extra
COPY --from=build /app /app
ENV DOTNET_EnableDiagnostics=0 HOME=/tmp
USER 10001:10001
ENTRYPOINT ["dotnet", "/app/CoCLR.Operator.dll"]
