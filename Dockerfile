# The service in a small image: one static binary, no shell, no root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /retryd ./cmd/retryd

# Certificates for TLS to Redis; zone data is in the binary.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /retryd /retryd
USER nonroot
EXPOSE 7600 7601
ENTRYPOINT ["/retryd"]
CMD ["serve"]
