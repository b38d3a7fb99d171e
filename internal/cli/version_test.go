package cli_test

import "testing"

func TestVersion(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, c := range []struct {
			args []string
			want string
		}{
			{nil, "retryd v1.2.3\n"},
			{[]string{"-o", "json"}, "{\n  \"version\": \"v1.2.3\"\n}\n"},
			{[]string{"-o", "yaml"}, "version: v1.2.3\n"},
			{[]string{"--server"}, "retryd v1.2.3\nserver v1.2.3 at 127.0.0.1:7600\n"},
			{[]string{"--server", "-o", "yaml"}, "version: v1.2.3\nserver:\n  address: 127.0.0.1:7600\n  version: v1.2.3\n"},
		} {
			if got := r.run(append([]string{"version"}, c.args...)...).wants(0); got.out != c.want {
				t.Errorf("version %v prints\n%s\nwant\n%s", c.args, got.out, c.want)
			}
		}
		r.run("version", "-o", "xml").wants(2).says(`--output is "xml": it must be one of table, wide, json, yaml`)
		// How a server is reached does not matter where none is asked.
		r.env["RETRYD_TLS_CERT"], r.env["RETRYD_OUTPUT"] = "/none", "yaml"
		if got := r.run("version").wants(0); got.out != "version: v1.2.3\n" {
			t.Errorf("version prints %q", got.out)
		}
		r.env = nil
		r.away = true
		r.run("version", "--server").wants(5).says("retryd v1.2.3\n")
		if got := r.run("version", "--server", "-o", "json").wants(5); got.out != "" {
			t.Errorf("without a server it prints %q", got.out)
		}
	})
}
