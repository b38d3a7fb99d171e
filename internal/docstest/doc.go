// Package docstest keeps the documentation true: it reads the fenced blocks of a
// Markdown file, runs the commands among them against a server of its own, and
// compares what they answer with what is printed.
//
// The info string of a block says what it is:
//
//	```sh                      commands; one per line, unless quotes or \ go on
//	```sh refused              a start of retryd that is refused
//	```sh example              commands for the examples in other languages, which
//	                           `make check-examples` runs
//	```json output             what the last command answers
//	```json output Subscribe   what a running stream whose command has that word
//	                           shows next
//	```yaml                    a policy file
//	```yaml policies.yaml      a policy file that later commands find by that name
//	```yaml deploy/x.yaml      lines of that file of the repository
//	```yaml settings           settings of a server, or of the command line
//	```go client.ExampleX      lines of an Example, as they stand there
//	```text                    nothing: a picture
//
// Commands run as printed, but for their addresses: the server listens on free
// ports, and those of a default server are replaced by them. `go run ./cmd/retryd`
// runs a binary that was built from it, and so does `retryd`; `make` and `go get` are
// not run, but must name what there is.
//
// Answers must be as printed, line by line, but that
//
//   - runs of white space are equal, and a line of three dots stands for any lines;
//   - a time is any time where the answer's own lies within two hours of now;
//   - a time as seen from now, such as (in 4.2s) or 3s ago, is any such time;
//   - dueIn, oldestDueAge and sincePrevious are any duration;
//   - leaseToken, etag and nextPageToken are any text; where a later command
//     repeats the printed one, it is sent the one that was answered.
//
// It must import nothing of this module; what its tests import is their affair.
package docstest
