// Package tlsfile keeps certificates, keys and roots that are in files, and takes
// them up anew when the files change: a certificate is renewed without a restart,
// and a broken one is told while the one before holds on.
//
// No library does this as operators are promised it: that the start fails with all that
// is wrong, that a pair which is half written leaves the one before, roots too, and that
// the log tells so. gRPC's certprovider/pemfile is experimental, returns no error at the
// start, wants key and certificate in one directory, gives gRPC what it has read and not
// Redis, and logs a pair that does not fit with its private key; security/advancedtls
// has files read by it. certwatcher of controller-runtime knows no roots, and brings
// Kubernetes' libraries and their metrics.
package tlsfile

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

const (
	// pollInterval is how often the files are looked at.
	pollInterval = 10 * time.Second
	// soon is how long before its end a certificate is worth a warning.
	soon = 7 * 24 * time.Hour
)

// Files are those of one side of TLS connections, all in PEM. What is empty there
// is none of. [Files.Load] has to be called before the configurations are used.
type Files struct {
	// Cert and Key are the certificate, with what leads to its root, and its key.
	Cert, Key string
	// CA are the roots for the certificates of others.
	CA string

	held atomic.Pointer[material]
}

// material is what the files hold.
type material struct {
	certs  []tls.Certificate
	roots  *x509.CertPool
	digest [sha256.Size]byte
}

// Empty says that there are no files.
func (f *Files) Empty() bool { return f.Cert == "" && f.Key == "" && f.CA == "" }

// Load reads the files, or says everything that is wrong with them: then what they
// held before holds on. It is true where they have changed.
func (f *Files) Load() (changed bool, err error) {
	var errs []error
	read := func(path string) []byte {
		if path == "" {
			return nil
		}
		data, err := os.ReadFile(path)
		errs = append(errs, err)
		return data
	}
	cert, key, ca := read(f.Cert), read(f.Key), read(f.CA)
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	now := &material{digest: digest(cert, key, ca)}
	if before := f.held.Load(); before != nil && before.digest == now.digest {
		return false, nil
	}
	if f.Cert != "" && f.Key != "" {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err))
		}
		now.certs = []tls.Certificate{pair}
	}
	if f.CA != "" {
		now.roots = x509.NewCertPool()
		if !now.roots.AppendCertsFromPEM(ca) {
			errs = append(errs, fmt.Errorf("%s holds no certificate in PEM", f.CA))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	f.held.Store(now)
	return true, nil
}

func digest(parts ...[]byte) [sha256.Size]byte {
	var all []byte
	for _, p := range parts {
		sum := sha256.Sum256(p)
		all = append(all, sum[:]...)
	}
	return sha256.Sum256(all)
}

// Server is the TLS of a listener. Where there are roots, clients may show a
// certificate, which must then be of one of them; who has to show what is for
// others to decide.
func (f *Files) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m := f.held.Load()
			cfg := &tls.Config{
				MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, Certificates: m.certs,
				CipherSuites: suites(),
				// A connection is kept for long; a resumed one would be spared the check
				// of a certificate whose root has gone.
				SessionTicketsDisabled: true,
			}
			if f.CA != "" {
				cfg.ClientAuth, cfg.ClientCAs = tls.VerifyClientCertIfGiven, m.roots
			}
			return cfg, nil
		},
	}
}

// suites are those of TLS 1.2 that HTTP/2 allows. Those of 1.3 are Go's.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// Client is the TLS of one connection to others. Without roots those of the system
// count; an empty name is that of the address.
func (f *Files) Client(serverName string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if m := f.held.Load(); m != nil {
		cfg.Certificates, cfg.RootCAs = m.certs, m.roots
	}
	return cfg
}

// Run takes changed files up until ctx ends, and tells the log of files that have
// gone bad, and of a certificate that ends soon.
func (f *Files) Run(ctx context.Context, log *slog.Logger) error {
	if f.Empty() {
		return nil
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	told := ""
	for {
		told = f.follow(ctx, log, told)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// follow takes changed files up. It returns what there is to complain of, which is
// logged unless that was told before.
func (f *Files) follow(ctx context.Context, log *slog.Logger, told string) string {
	changed, err := f.Load()
	if err != nil {
		if err.Error() != told {
			log.ErrorContext(ctx, "TLS files are wrong: what they held before holds on", "error", err)
		}
		return err.Error()
	}
	if changed {
		log.InfoContext(ctx, "TLS files were read again", "certificate", f.Cert, "ca", f.CA)
	}
	at, ok := f.ending()
	if !ok {
		return ""
	}
	if told != at.String() {
		log.WarnContext(ctx, "a TLS certificate ends soon", "certificate", f.Cert, "ends", at)
	}
	return at.String()
}

// ending is when the certificate ends, if that is soon.
func (f *Files) ending() (at time.Time, ok bool) {
	m := f.held.Load()
	if m == nil || len(m.certs) == 0 {
		return at, false
	}
	at = m.certs[0].Leaf.NotAfter
	return at, time.Until(at) < soon
}
