// Package testcert issues certificates for tests.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA issues certificates.
type CA struct {
	tb   testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// File holds its own certificate.
	File string
}

// NewCA returns a new one.
func NewCA(tb testing.TB) *CA {
	tb.Helper()
	ca := &CA{tb: tb, File: filepath.Join(tb.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	var der []byte
	ca.key = ca.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err == nil {
		ca.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		tb.Fatal(err)
	}
	ca.write(ca.File, "CERTIFICATE", der)
	return ca
}

// Pool has the CA alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Names are what a certificate says of its holder.
type Names struct {
	CN  string
	DNS []string
	URI string
	// Ends is when the certificate ends; zero for in a month.
	Ends time.Time
}

// Issue writes a certificate for 127.0.0.1 and the names, for either side of a
// connection, and its key into a directory.
func (ca *CA) Issue(dir string, names Names) (cert, key string) {
	ca.tb.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		ca.tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names.CN}, DNSNames: names.DNS,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: names.Ends,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if names.Ends.IsZero() {
		template.NotAfter = time.Now().AddDate(0, 1, 0)
	}
	if names.URI != "" {
		uri, err := url.Parse(names.URI)
		if err != nil {
			ca.tb.Fatal(err)
		}
		template.URIs = []*url.URL{uri}
	}
	own := ca.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, own.Public(), ca.key)
	if err != nil {
		ca.tb.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		ca.tb.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.write(cert, "CERTIFICATE", der)
	ca.write(key, "PRIVATE KEY", secret)
	return cert, key
}

// Pair is a certificate that is held in memory.
func (ca *CA) Pair(names Names) tls.Certificate {
	ca.tb.Helper()
	pair, err := tls.LoadX509KeyPair(ca.Issue(ca.tb.TempDir(), names))
	if err != nil {
		ca.tb.Fatal(err)
	}
	return pair
}

func (ca *CA) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.tb.Fatal(err)
	}
	return key
}

func (ca *CA) write(path, kind string, der []byte) {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.tb.Fatal(err)
	}
}
