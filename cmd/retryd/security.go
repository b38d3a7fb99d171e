package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"

	"github.com/retryd/retryd/internal/tlsfile"
	"github.com/retryd/retryd/server"
	"github.com/retryd/retryd/server/access"
)

// security is who may call the service, and how its connections are secured.
type security struct {
	tls, redisTLS      tlsfile.Files
	redisTLSServerName string
	access             string
	jwt                access.JWTConfig
	insecure           bool
	// control is nil where there is no access file.
	control *access.Control
}

// addTo defines the flags.
func (s *security) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&s.tls.Cert, "tls-cert", "", "PEM file of the certificate with which gRPC is served by TLS; read again when it changes")
	flags.StringVar(&s.tls.Key, "tls-key", "", "PEM file of its key")
	flags.StringVar(&s.tls.CA, "tls-client-ca", "", "PEM file of the roots of client certificates, which are then identities; needs --access")
	flags.StringVar(&s.access, "access", "", "YAML file of tokens, and of what identities may do in which namespaces; read again when it changes; without it everybody may do everything")
	flags.StringVar(&s.jwt.JWKS, "jwt-jwks", "", "file or https URL of the keys (JWKS) by which JWTs are checked, which are then identities; needs --access")
	flags.StringVar(&s.jwt.Issuer, "jwt-issuer", "", "issuer (iss) that JWTs must have")
	flags.StringVar(&s.jwt.Audience, "jwt-audience", "", "audience (aud) that JWTs must have")
	flags.StringVar(&s.redisTLS.CA, "redis-tls-ca", "", "PEM file of the roots of Redis's certificate, with rediss://; empty for those of the system")
	flags.StringVar(&s.redisTLS.Cert, "redis-tls-cert", "", "PEM file of the certificate that Redis is shown, with rediss://; read again when it changes")
	flags.StringVar(&s.redisTLS.Key, "redis-tls-key", "", "PEM file of its key")
	flags.StringVar(&s.redisTLSServerName, "redis-tls-server-name", "", "name that Redis's certificate must have, of all its servers; empty for the host that is dialled")
	flags.BoolVar(&s.insecure, "insecure", false, "listen on other addresses than loopback, though there is no TLS or no access control")
}

// onlyLoopback says why the ports may be on loopback alone, empty where they need
// not.
func (s *security) onlyLoopback() (listen, admin string) {
	switch secured := s.tls.Cert != "" && s.tls.Key != ""; {
	case s.insecure, s.access != "" && secured:
		return "", ""
	case s.access != "":
		return "tokens would go over the network in the clear: give --tls-cert and --tls-key, or --insecure where something else secures the network, or listen on loopback", ""
	default:
		const open = "there is no access control: give --access with --tls-cert and --tls-key, or give --insecure to be open to everybody who can reach it, or listen on loopback"
		return open, open
	}
}

// prepare reads the files, or says everything that is wrong with them.
func (s *security) prepare(log *slog.Logger) error {
	var errs []error
	lacks := func(flag, what string) {
		errs = append(errs, fmt.Errorf("%s is missing: %s", setting(flag), what))
	}
	for _, side := range []struct {
		prefix string
		files  *tlsfile.Files
	}{{"", &s.tls}, {"redis-", &s.redisTLS}} {
		switch f := side.files; {
		case f.Cert == "" && f.Key != "":
			lacks(side.prefix+"tls-cert", "the key is that of a certificate")
		case f.Key == "" && f.Cert != "":
			lacks(side.prefix+"tls-key", "the certificate needs its key")
		default:
			if _, err := f.Load(); err != nil {
				errs = append(errs, fmt.Errorf("%s and its like: %w", setting(side.prefix+"tls-cert"), err))
			}
		}
	}
	if s.tls.CA != "" && s.tls.Cert == "" {
		lacks("tls-cert", "client certificates come by TLS")
	}
	if s.access == "" {
		if s.tls.CA != "" {
			lacks("access", "it says what the holders of client certificates may do")
		}
		if s.jwt != (access.JWTConfig{}) {
			lacks("access", "it says what the holders of JWTs may do")
		}
		return errors.Join(errs...)
	}
	var err error
	if s.control, err = access.New(access.Config{File: s.access, JWT: s.jwt, Log: log}); err != nil {
		name := setting("access")
		if s.jwt != (access.JWTConfig{}) {
			name += ", " + setting("jwt-jwks") + " and its like"
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	return errors.Join(errs...)
}

// redis is the TLS of connections to Redis, nil for the default.
func (s *security) redis() func() *tls.Config {
	if s.redisTLS.Empty() && s.redisTLSServerName == "" {
		return nil
	}
	return func() *tls.Config { return s.redisTLS.Client(s.redisTLSServerName) }
}

// apply puts what was prepared into the server's configuration.
func (s *security) apply(cfg *server.Config) {
	cfg.Access = s.control
	if s.tls.Cert != "" {
		cfg.Credentials = credentials.NewTLS(s.tls.Server())
	}
}
