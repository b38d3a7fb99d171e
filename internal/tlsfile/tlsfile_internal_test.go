package tlsfile

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/internal/testcert"
)

// shown is the name of the certificate that a new connection would be shown.
func shown(t *testing.T, f *Files) string {
	t.Helper()
	cfg, err := f.Server().GetConfigForClient(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Certificates[0].Leaf.Subject.CommonName
}

func TestRenewedFilesAreTakenUpAndBrokenOnesAreNot(t *testing.T) {
	t.Parallel()
	ca, dir := testcert.NewCA(t), t.TempDir()
	cert, key := ca.Issue(dir, testcert.Names{CN: "first"})
	f := &Files{Cert: cert, Key: key, CA: ca.File}
	if _, err := f.Load(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	told := f.follow(t.Context(), log, "")
	if got := shown(t, f); got != "first" || b.Len() > 0 {
		t.Errorf("the certificate is %q, the log %s", got, b.String())
	}

	ca.Issue(dir, testcert.Names{CN: "second"})
	told = f.follow(t.Context(), log, told)
	if got := shown(t, f); got != "second" {
		t.Errorf("the certificate is %q after it was renewed", got)
	}

	// The certificate of a key that is not there yet.
	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	ca.Issue(dir, testcert.Names{CN: "third"})
	if err := os.WriteFile(key, old, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		told = f.follow(t.Context(), log, told)
	}
	if got := shown(t, f); got != "second" || strings.Count(b.String(), "level=ERROR") != 1 {
		t.Errorf("with a certificate and a key that do not fit it is %q; want the second, told once:\n%s", got, b.String())
	}

	ca.Issue(dir, testcert.Names{CN: "fourth", Ends: time.Now().Add(time.Hour)})
	for range 2 {
		told = f.follow(t.Context(), log, told)
	}
	if got := shown(t, f); got != "fourth" || strings.Count(b.String(), "ends soon") != 1 {
		t.Errorf("a certificate that ends soon is shown as %q; want it told once:\n%s", got, b.String())
	}
}

func TestLoadTellsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	junk := dir + "/junk.pem"
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		files *Files
		want  []string
	}{
		{&Files{Cert: dir + "/a", Key: dir + "/b", CA: dir + "/c"}, []string{"/a", "/b", "/c"}},
		{&Files{Cert: junk, Key: junk, CA: junk}, []string{"certificate " + junk, "holds no certificate in PEM"}},
	} {
		_, err := row.files.Load()
		for _, want := range row.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want it to name %s", err, want)
			}
		}
	}
}
