// A small project in the shape of this one, on which scripts/lint-test.sh tries the
// linter's rules. The modules it needs are stubs, so that nothing is downloaded.
module github.com/retryd/retryd

go 1.26.0

require (
	github.com/redis/go-redis/v9 v9.0.0
	golang.org/x/sync v0.0.0
	google.golang.org/grpc v1.0.0
)

replace (
	github.com/redis/go-redis/v9 => ./stubs/redis
	golang.org/x/sync => ./stubs/sync
	google.golang.org/grpc => ./stubs/grpc
)
