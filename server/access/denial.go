package access

import (
	"context"
	"log/slog"
	"sync/atomic"

	"google.golang.org/grpc/peer"

	"github.com/retryd/retryd/internal/logbound"
)

// The reasons for which callers are turned away, as metrics name them.
const (
	// NoCredential: neither a token nor a certificate came.
	NoCredential = "no_credential"
	// BadCredential: the authorization header cannot be read.
	BadCredential = "bad_credential"
	// UnknownToken: no token of the access file has its digest.
	UnknownToken = "unknown_token"
	// InvalidToken: a JWT is not signed by a known key, or not meant for here.
	InvalidToken = "invalid_token"
	// Expired: a credential was good once.
	Expired = "expired"
	// NoRole: the identity has no role that may call the method.
	NoRole = "no_role"
	// NoNamespace: it has such a role, but not in the namespace.
	NoNamespace = "no_namespace"
	// NoRule: nobody may call the method.
	NoRule = "no_rule"
)

// Reasons are all of them.
func Reasons() []string {
	return []string{NoCredential, BadCredential, UnknownToken, InvalidToken, Expired, NoRole, NoNamespace, NoRule}
}

// DeniedError is why a call is refused. It holds nothing of the credential.
type DeniedError struct {
	// Reason is one of the above.
	Reason string
	// Message tells the caller.
	Message string
	// Identity is whom the caller has proved to be, empty for nobody.
	Identity string
}

// Error is what the caller is told.
func (d *DeniedError) Error() string { return d.Message }

// Authenticated says whether it is known who the caller is, who may just not do
// it: then the answer is PERMISSION_DENIED, else UNAUTHENTICATED.
func (d *DeniedError) Authenticated() bool {
	return d.Reason == NoRole || d.Reason == NoNamespace || d.Reason == NoRule
}

// denials counts and logs those who were turned away; of each reason so many that
// no disk is filled.
type denials struct {
	log *slog.Logger
	of  map[string]*tally
}

type tally struct {
	count atomic.Int64
	lines *logbound.Bound
}

func newDenials(log *slog.Logger) *denials {
	d := &denials{log: log, of: make(map[string]*tally)}
	for _, reason := range Reasons() {
		d.of[reason] = &tally{lines: logbound.New()}
	}
	return d
}

// attempt is what somebody was kept from.
type attempt struct{ method, namespace string }

// maxLogged is how much of a namespace is logged, which the caller made up.
const maxLogged = 100

// tell counts a denial, logs it where there is room, and returns it as an error.
func (d *denials) tell(ctx context.Context, a attempt, why *DeniedError) error {
	t := d.of[why.Reason]
	t.count.Add(1)
	if !t.lines.Allow() {
		return why
	}
	attrs := []slog.Attr{
		slog.String("reason", why.Reason),
		slog.String("method", a.method),
		slog.String("detail", why.Message),
	}
	if why.Identity != "" {
		attrs = append(attrs, slog.String("identity", why.Identity))
	}
	if a.namespace != "" {
		attrs = append(attrs, slog.String("namespace", a.namespace[:min(len(a.namespace), maxLogged)]))
	}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		attrs = append(attrs, slog.String("peer", p.Addr.String()))
	}
	d.log.LogAttrs(ctx, slog.LevelWarn, "access denied", t.lines.Append(attrs)...)
	return why
}
