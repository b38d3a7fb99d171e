package cli_test

import (
	"os"
	"path/filepath"
	"testing"
)

// file writes a file for the length of the test.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongSettingsAreToldAtOnceWithTheirOrigin(t *testing.T) {
	inBubble(t, func(r *rig) {
		path := file(r.t, "client.yaml", "tls: perhaps\ntimeout: 5\n")
		r.env["RETRYD_ADDRESS"] = "nowhere"
		r.env["RETRYD_CLIENT_CONFIG"] = path
		r.run("healthcheck", "--tls-cert=a.pem", "--token-file=/no/such").wants(2).says(
			`RETRYD_ADDRESS is "nowhere": it must be host:port, such as retryd.example.com:7600`,
			`timeout in `+path+` is "5": it must be a duration, such as 500ms, 10s or 1m`,
			`tls in `+path+` is "perhaps": it must be true or false`,
			`--tls-cert is "a.pem": it needs its key, --tls-key`,
			`--token-file is "/no/such": no such file or directory`,
		)
	})
}
