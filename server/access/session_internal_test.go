package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// workers is an access file of one token, "secret", which may work in a namespace.
func workers(namespace string) string {
	return fmt.Sprintf("tokens: [{name: a, sha256: %x}]\nbindings: [{identity: token:a, roles: [worker], namespaces: [%s]}]", sha256.Sum256([]byte("secret")), namespace)
}

// A stream that has not said yet what it is for is opened by what the file says when
// it does, and not by what it said when the stream came.
func TestStreamsAreOpenedByTheFileOfTheMoment(t *testing.T) {
	t.Parallel()
	const method = retryv1.RetryService_Subscribe_FullMethodName
	for _, row := range []struct {
		name, file string
		// late is whether the file changes after the caller is known, but before there is
		// a session.
		late   bool
		reason string
	}{
		{"it is bound as before", workers("mine"), false, ""},
		{"it is bound elsewhere", workers("other"), false, NoNamespace},
		{"its token is gone", "tokens: []\nbindings: [{identity: jwt:x, roles: [worker], namespaces: [mine]}]", false, UnknownToken},
		{"it is bound elsewhere, just before the session", workers("other"), true, NoNamespace},
		{"its token is gone, just before the session", "bindings: [{identity: jwt:x, roles: [worker], namespaces: [mine]}]", true, UnknownToken},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, err := New(Config{File: writeFile(t, "access.yaml", workers("mine")), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			change := func() {
				if err := os.WriteFile(c.cfg.File, []byte(row.file), 0o600); err != nil {
					t.Fatal(err)
				}
				c.reload(t.Context())
			}
			ctx, err := c.Identify(withBearer(t.Context(), "secret"), method)
			if err != nil {
				t.Fatal(err)
			}
			if row.late {
				change()
			}
			ctx, end := c.Begin(ctx, method)
			defer end()
			if !row.late {
				change()
			}
			s := SessionOf(ctx)
			lapsed := s.Err() != nil
			if want := row.reason == UnknownToken; lapsed != want {
				t.Errorf("the stream has lapsed: %t, want %t", lapsed, want)
			}
			checkReason(t, "opened", s.Permit(ctx, open("mine")), row.reason)
		})
	}
}

func open(namespace string) *retryv1.SubscribeRequest {
	return &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{Namespace: namespace}}}
}

func checkReason(t *testing.T, what string, err error, want string) {
	t.Helper()
	var denied *DeniedError
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (!errors.As(err, &denied) || denied.Reason != want):
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// Whoever is permitted while the file changes is found by the review after it.
func TestStreamsThatOpenWhileTheFileChangesEnd(t *testing.T) {
	t.Parallel()
	c, err := New(Config{File: writeFile(t, "access.yaml", workers("mine")), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const method, streams = retryv1.RetryService_Subscribe_FullMethodName, 400
	sessions := make(chan *Session, streams)
	for i := range streams {
		go func() { sessions <- opened(withBearer(context.WithoutCancel(t.Context()), "secret"), c, method) }()
		if i != streams/2 {
			continue
		}
		if err := os.WriteFile(c.cfg.File, []byte(workers("other")), 0o600); err != nil {
			t.Fatal(err)
		}
		c.reload(t.Context())
	}
	goOn := 0
	for range streams {
		if s := <-sessions; s != nil && s.Err() == nil {
			goOn++
		}
	}
	if goOn > 0 {
		t.Errorf("%d streams go on that may not", goOn)
	}
}

// opened is the session of a stream that was let in and opened, nil for none.
func opened(ctx context.Context, c *Control, method string) *Session {
	ctx, err := c.Identify(ctx, method)
	if err != nil {
		return nil
	}
	ctx, _ = c.Begin(ctx, method)
	if s := SessionOf(ctx); s.Permit(ctx, open("mine")) == nil {
		return s
	}
	return nil
}
