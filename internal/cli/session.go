package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/retryd/retryd/client"
)

// session is one command under way: its settings, its way to the server, and its
// way to print.
type session struct {
	env *Env
	cmd *cobra.Command
	// namespace is the one of all requests; the client fills it in.
	namespace string
	// address is the server's.
	address string
	timeout time.Duration
	// format is the form in which the result is printed.
	format string

	options []client.Option
	made    *client.Client
}

// run makes the function that cobra runs of one that needs a session.
func (e *Env) run(do func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := e.session(cmd)
		if err != nil {
			return err
		}
		return errors.Join(do(cmd.Context(), s, args), s.close())
	}
}

// call is run for one that needs a client from its beginning on.
func (e *Env) call(
	do func(ctx context.Context, s *session, c *client.Client, args []string) error,
) func(*cobra.Command, []string) error {
	return e.run(func(ctx context.Context, s *session, args []string) error {
		c, err := s.client()
		if err != nil {
			return err
		}
		return do(ctx, s, c, args)
	})
}

// session reads the settings of a command, and tells everything that is wrong with
// them.
func (e *Env) session(cmd *cobra.Command) (*session, error) {
	values, err := e.values(cmd)
	if err != nil {
		return nil, err
	}
	s := &session{
		env: e, cmd: cmd,
		namespace: values["namespace"].text, address: values["address"].text, format: values["output"].text,
	}
	var errs []error
	if v, ok := values["output"]; ok {
		errs = append(errs, checkFormat(cmd, v))
	}
	if v := values["address"]; !isAddress(v.text) {
		errs = append(errs, v.wrong("it must be host:port, such as retryd.example.com:7600, or unix:PATH"))
	}
	v := values["timeout"]
	if s.timeout, err = time.ParseDuration(v.text); err != nil {
		errs = append(errs, v.wrong("it must be a duration, such as 500ms, 10s or 1m"))
	} else if s.timeout < time.Millisecond {
		errs = append(errs, v.wrong("it must be at least 1ms"))
	}
	secured, err := secure(values)
	errs = append(errs, err)
	identified, err := identify(cmd.Context(), values)
	errs = append(errs, err)
	if err := joinUsage(errs); err != nil {
		return nil, err
	}
	s.options = []client.Option{
		client.WithNamespace(s.namespace),
		client.WithLogger(slog.New(slog.DiscardHandler)),
		// Whoever calls by hand sees at once that nobody answers, and decides.
		client.WithRetryTimeout(0),
		client.WithDialOptions(grpc.WithChainUnaryInterceptor(s.limit)),
	}
	s.options = append(s.options, secured...)
	s.options = append(s.options, identified...)
	s.options = append(s.options, e.Client...)
	return s, nil
}

// client is the one of the session, made at its first use. It does not connect
// before it is called through. Options count at the first use alone.
func (s *session) client(opts ...client.Option) (*client.Client, error) {
	if s.made != nil {
		return s.made, nil
	}
	c, err := client.New(s.address, append(s.options, opts...)...)
	if err != nil {
		return nil, &usageError{err}
	}
	s.made = c
	return c, nil
}

// patient is a client that repeats what an unavailable server refuses, for work in
// many calls that should survive a restart of the server.
func (s *session) patient() (*client.Client, error) {
	return s.client(client.WithRetryTimeout(2 * time.Minute))
}

// limit ends each call after --timeout.
func (s *session) limit(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return invoke(ctx, method, req, reply, cc, opts...)
}

func (s *session) close() error {
	if s.made == nil {
		return nil
	}
	return s.made.Close()
}

func isAddress(a string) bool {
	if strings.Contains(a, "://") || strings.HasPrefix(a, "unix:") || strings.HasPrefix(a, "dns:") || strings.HasPrefix(a, "passthrough:") {
		return true
	}
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// secure returns how the connection is secured, as the settings say; nothing where
// they leave it to the client.
func secure(values map[string]value) ([]client.Option, error) {
	var errs []error
	wrong := func(v value, format string, args ...any) { errs = append(errs, v.wrong(format, args...)) }
	want := values["tls"]
	on, err := strconv.ParseBool(want.text)
	if want.given() && err != nil {
		wrong(want, "it must be true or false")
	}
	ca, cert, key, name := values["tls-ca"], values["tls-cert"], values["tls-key"], values["tls-server-name"]
	if want.given() && err == nil && !on {
		for _, v := range []value{ca, cert, key, name} {
			if v.rank >= want.rank {
				wrong(v, "%s says that there is no TLS", want.from)
			}
		}
		return []client.Option{client.WithInsecure()}, errors.Join(errs...)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name.text}
	if ca.text != "" {
		pem, err := os.ReadFile(ca.text)
		cfg.RootCAs = x509.NewCertPool()
		if err != nil {
			wrong(ca, "%w", plainPathError(err))
		} else if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			wrong(ca, "the file holds no certificate in PEM form")
		}
	}
	switch {
	case cert.text != "" && key.text != "":
		pair, err := tls.LoadX509KeyPair(cert.text, key.text)
		if err != nil {
			wrong(cert, "with %s %q: %w", key.from, key.text, err)
		} else if cert.rank != rankEnvironment || forClients(pair.Leaf) {
			// Beside a server the variables may be those of its own certificate. A server
			// that is shown one that is not for clients ends the connection.
			cfg.Certificates = []tls.Certificate{pair}
		}
	case cert.text != "":
		wrong(cert, "it needs its key, --tls-key")
	case key.text != "":
		wrong(key, "it needs its certificate, --tls-cert")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if on || ca.text+cert.text+name.text != "" {
		return []client.Option{client.WithTLS(cfg)}, nil
	}
	return nil, nil
}

// forClients says whether a certificate may be that of a client.
func forClients(cert *x509.Certificate) bool {
	return len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 ||
		slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// identify returns the bearer token to call with, as the settings say.
func identify(ctx context.Context, values map[string]value) ([]client.Option, error) {
	given, file := values["token"], values["token-file"]
	chosen, err := either(given, file)
	if err != nil || chosen.text == "" {
		return nil, err
	}
	read := func(context.Context) (string, error) { return checkToken(chosen, chosen.text) }
	if chosen.from == file.from {
		read = func(context.Context) (string, error) { return readToken(chosen) }
	}
	// That it cannot be read, or sent, is told before the first call.
	if _, err := read(ctx); err != nil {
		return nil, err
	}
	return []client.Option{client.WithToken(read)}, nil
}

func readToken(file value) (string, error) {
	data, err := os.ReadFile(file.text)
	if err != nil {
		return "", file.wrong("%w", plainPathError(err))
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", file.wrong("the file is empty")
	}
	return checkToken(file, token)
}

// checkToken refuses a token that gRPC would not send, without repeating it.
func checkToken(from value, token string) (string, error) {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", usagef("%s gives a token with spaces or other characters that cannot be sent in a header", from.from)
	}
	return token, nil
}
